// Compiled once for each instruction set, with BASIN_ISA naming it. It must use no inline function of the
// standard library: the linker keeps one copy of such a function for all instruction sets, maybe this one.
#include "training/dual.h"
#include "training/elementwise.h"
#include "training/product.h"
#include "training/rows.h"

namespace basin {
namespace BASIN_ISA {

extern const TrainingKernels trainingTable;
const TrainingKernels trainingTable = {
    product, packPanel, packTile,
    unary, binary, compare, addTo, transposeBlock,
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
