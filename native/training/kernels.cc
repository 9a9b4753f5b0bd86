// Compiled once for each instruction set, with BASIN_ISA naming it. It must use no inline function of
// the standard library: the linker may keep the copy of this build for all.
#include "dual.h"
#include "elementwise.h"
#include "product.h"
#include "rows.h"

namespace basin {
namespace BASIN_ISA {

extern const TrainingKernels trainingTable;
const TrainingKernels trainingTable = {
    product, packPanel, packTile,
    unary, binary, compare, addTo, turnBlock,
    reduceRow, reduceColumns,
    softmax, logSoftmax, softmaxGradient, logSoftmaxGradient,
    norm, normGradient, normWeightGradient,
    gate, gateGradient, rotate,
    gateDual, gateDualGradient, normDual, normDualGradient,
    jointSoftmax, jointSoftmaxGradient,
    logSumExp, scaledExp,
};

}  // namespace BASIN_ISA
}  // namespace basin
