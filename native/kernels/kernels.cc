// Compiled once for each instruction set, with BASIN_ISA naming it. It must use no inline function of the
// standard library: the linker keeps one copy of such a function for all instruction sets, maybe this one.
#include "kernels/attention.h"
#include "kernels/gate.h"
#include "kernels/matmul.h"
#include "kernels/norm.h"
#include "kernels/vector_ops.h"
#include "kernels/rotary.h"
#include "kernels/vocab.h"

#define TEXT_OF(name) #name
#define NAME_OF(name) TEXT_OF(name)

namespace basin {
namespace BASIN_ISA {

extern const Kernels table;
const Kernels table = {
    NAME_OF(BASIN_ISA),
    {matmul<float>, matmul<bf16>, matmul<int8_t>},
    inputsTogether,
    narrowed,
    narrow,
    norm,
    normGradient,
    gate,
    gateGradient,
    rotate,
    rotateBack,
    {attention<float>, attention<bf16>, attention<int8_t>},
    {attentionGradient<float>, attentionGradient<bf16>, attentionGradient<int8_t>},
    {vocabPass<float, false>, vocabPass<bf16, false>, vocabPass<int8_t, false>},
    {vocabPass<float, true>, vocabPass<bf16, true>, vocabPass<int8_t, true>},
    entropy,
    weigh,
    fmaRun,
    multiply,
    addProduct,
    dot,
    fmaRounds,
    readSum,
};

}  // namespace BASIN_ISA
}  // namespace basin
