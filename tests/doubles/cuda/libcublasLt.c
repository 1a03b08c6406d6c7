/* Test double of libcublasLt.so.12 under agent/bench/cublaslt.py: it multiplies what it is given, and refuses what it is not
 * told as cublasLt.h wants it. What goes wrong is said in the state of libcuda's double (double.h):
 *   wrong_gemm 1: the GPU's results are wrong by a bit; fickle_gemm N: from its Nth multiplication on;
 *   hang_gemm 1: it never ends; tflops X: how fast it is; no_algorithm 1: there is no way to multiply. */
#include "double.h"

#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, INVALID_VALUE = 7, COMPUTE_32F = 68, R_32F = 0, R_16BF = 14, TRANSA = 3, WORKSPACE = 1, REDUCTION = 3 };
enum { GPUS = 64 };
static const uint64_t CHOSEN = 0xC405E4;

typedef struct { int gpu; } handle;
typedef struct { int compute, scale, transposed; } product;
typedef struct { int type; uint64_t rows, columns; int64_t leading; } layout;
typedef struct { uint64_t workspace; uint32_t reduction; } preference;
typedef struct { uint64_t data[8]; } algorithm;
typedef struct { algorithm algorithm; size_t workspace; int state; float waves; int reserved[4]; } heuristic;

static long multiplications[GPUS];

#define ENTER(name)                                                         \
    do {                                                                    \
        double_log(name " %d", double_current_gpu());                       \
        int failure = double_failure(name, double_current_gpu());           \
        if (failure) return failure;                                        \
    } while (0)

size_t cublasLtGetVersion(void) { return (size_t)double_number("cublaslt", -1, 120804); }

int cublasLtCreate(handle **made) {
    ENTER("cublasLtCreate");
    *made = calloc(1, sizeof **made);
    (*made)->gpu = double_current_gpu();
    return SUCCESS;
}

int cublasLtDestroy(handle *gone) {
    double_log("cublasLtDestroy %d", gone->gpu);
    free(gone);
    return SUCCESS;
}

int cublasLtMatmulDescCreate(product **made, int compute, int scale) {
    *made = calloc(1, sizeof **made);
    **made = (product){compute, scale, 0};
    return SUCCESS;
}

int cublasLtMatmulDescSetAttribute(product *target, int attribute, const void *value, size_t bytes) {
    if (attribute != TRANSA || bytes != sizeof(int)) return INVALID_VALUE;
    memcpy(&target->transposed, value, bytes);
    return SUCCESS;
}

int cublasLtMatrixLayoutCreate(layout **made, int type, uint64_t rows, uint64_t columns, int64_t leading) {
    *made = calloc(1, sizeof **made);
    **made = (layout){type, rows, columns, leading};
    return SUCCESS;
}

int cublasLtMatmulPreferenceCreate(preference **made) {
    *made = calloc(1, sizeof **made);
    (*made)->reduction = UINT32_MAX;
    return SUCCESS;
}

int cublasLtMatmulPreferenceSetAttribute(preference *target, int attribute, const void *value, size_t bytes) {
    if (attribute == WORKSPACE && bytes == 8) memcpy(&target->workspace, value, bytes);
    else if (attribute == REDUCTION && bytes == 4) memcpy(&target->reduction, value, bytes);
    else return INVALID_VALUE;
    return SUCCESS;
}

static int gone(const char *what, void *object) {
    double_log("%s %d", what, double_current_gpu());
    free(object);
    return SUCCESS;
}

int cublasLtMatmulDescDestroy(product *object) { return gone("cublasLtMatmulDescDestroy", object); }
int cublasLtMatrixLayoutDestroy(layout *object) { return gone("cublasLtMatrixLayoutDestroy", object); }
int cublasLtMatmulPreferenceDestroy(preference *object) { return gone("cublasLtMatmulPreferenceDestroy", object); }

static int is_right(const product *wanted, const layout *a, const layout *b, const layout *c, const layout *d) {
    return wanted->compute == COMPUTE_32F && wanted->scale == R_32F && wanted->transposed && a->type == R_16BF
        && b->type == R_16BF && c->type == R_32F && d->type == R_32F && a->rows == b->rows && a->columns == d->rows
        && b->columns == d->columns && a->leading == (int64_t)a->rows && d->leading == (int64_t)d->rows;
}

int cublasLtMatmulAlgoGetHeuristic(handle *library, product *wanted, layout *a, layout *b, layout *c, layout *d,
                                   preference *limits, int most, heuristic *found, int *count) {
    ENTER("cublasLtMatmulAlgoGetHeuristic");
    if (most < 1 || !is_right(wanted, a, b, c, d) || limits->reduction != 0 || !limits->workspace) return INVALID_VALUE;
    memset(found, 0, sizeof *found);
    found->algorithm.data[0] = CHOSEN;
    *count = double_number("no_algorithm", library->gpu, 0) ? 0 : 1;
    return SUCCESS;
}

static float *read_bfloat16(uint64_t address, uint64_t count) {
    float *values = malloc(count * sizeof *values);
    for (uint64_t i = 0; i < count; i += 2) {
        uint32_t word, half;
        double_run(address + 2 * i, 4, &word);
        half = word << 16, memcpy(&values[i], &half, 4);
        half = word & 0xFFFF0000, memcpy(&values[i + 1], &half, 4);
    }
    return values;
}

static int never(void *nothing) { return nothing != NULL; }

int cublasLtMatmul(handle *library, product *wanted, const float *alpha, uint64_t a, layout *of_a, uint64_t b, layout *of_b,
                   const float *beta, uint64_t c, layout *of_c, uint64_t d, layout *of_d, const algorithm *chosen,
                   uint64_t workspace, size_t bytes, void *stream) {
    ENTER("cublasLtMatmul");
    int gpu = double_current_gpu();
    if (gpu != library->gpu || *alpha != 1 || *beta != 0 || c != d || chosen->data[0] != CHOSEN || !workspace || !bytes
        || !is_right(wanted, of_a, of_b, of_c, of_d)) return INVALID_VALUE;
    uint64_t inner = of_a->rows, rows = of_d->rows, columns = of_d->columns;
    float *first = read_bfloat16(a, inner * rows), *second = read_bfloat16(b, inner * columns);
    for (uint64_t column = 0; column < columns; column++)
        for (uint64_t row = 0; row < rows; row++) {
            double sum = 0;
            for (uint64_t i = 0; i < inner; i++) sum += (double)first[row * inner + i] * second[column * inner + i];
            float rounded = (float)sum;
            uint32_t word;
            memcpy(&word, &rounded, 4);
            double_write(d + 4 * (column * rows + row), 4, word);
        }
    free(first), free(second);
    long from = (long)double_number("fickle_gemm", gpu, 0);
    multiplications[gpu]++;
    if (double_number("wrong_gemm", gpu, 0) || (from && multiplications[gpu] >= from)) double_write(d + 4, 4, 0x3F800001);
    double_spend(stream, 2.0 * inner * rows * columns / (double_number("tflops", gpu, 700) * 1e12));
    if (double_number("hang_gemm", gpu, 0)) double_block(stream, never, NULL);
    return SUCCESS;
}
