/* cuBLASLt: objects describe a matrix multiplication. They are stored, so that its line in the log has shapes and types. */
#include "standin.h"

#include <stdlib.h>
#include <string.h>

/* Values of cublasStatus_t. */
enum { SUCCESS = 0, INVALID_VALUE = 7 };
/* Values of cublasLtMatmulDescAttributes_t, cublasLtMatrixLayoutAttribute_t, cublasOperation_t and cudaDataType_t. */
enum { TRANSPOSE_A = 3, OUTPUT_SCALE = 20, BATCH_COUNT = 5, NOT_TRANSPOSED = 0, E4M3 = 28, E5M2 = 29 };

struct description {
    int transpose_a;
    const void *output_scale;
};

struct layout {
    int type;
    uint64_t rows, columns;
    int32_t batch;
};

/* cublasLtMatmulHeuristicResult_t. */
struct heuristic {
    uint64_t algorithm[8];
    size_t workspace;
    int status;
    float waves;
    int reserved[4];
};

int cublasLtCreate(void **handle) {
    *handle = calloc(1, 1);
    return SUCCESS;
}

int cublasLtDestroy(void *handle) {
    free(handle);
    return SUCCESS;
}

int cublasLtMatmulDescCreate(struct description **description, int, int) {
    *description = calloc(1, sizeof **description);
    return SUCCESS;
}

int cublasLtMatmulDescDestroy(struct description *description) {
    free(description);
    return SUCCESS;
}

int cublasLtMatmulDescSetAttribute(struct description *description, int attribute, const void *value, size_t bytes) {
    if (attribute == TRANSPOSE_A && bytes == sizeof description->transpose_a)
        memcpy(&description->transpose_a, value, bytes);
    if (attribute == OUTPUT_SCALE && bytes == sizeof description->output_scale)
        memcpy(&description->output_scale, value, bytes);
    return SUCCESS;
}

int cublasLtMatrixLayoutCreate(struct layout **layout, int type, uint64_t rows, uint64_t columns, int64_t) {
    *layout = malloc(sizeof **layout);
    **layout = (struct layout){type, rows, columns, 1};
    return SUCCESS;
}

int cublasLtMatrixLayoutDestroy(struct layout *layout) {
    free(layout);
    return SUCCESS;
}

int cublasLtMatrixLayoutSetAttribute(struct layout *layout, int attribute, const void *value, size_t bytes) {
    if (attribute == BATCH_COUNT && bytes == sizeof layout->batch)
        memcpy(&layout->batch, value, bytes);
    return SUCCESS;
}

int cublasLtMatmulPreferenceCreate(void **preference) {
    *preference = calloc(1, 1);
    return SUCCESS;
}

int cublasLtMatmulPreferenceDestroy(void *preference) {
    free(preference);
    return SUCCESS;
}

int cublasLtMatmulPreferenceSetAttribute(void *, int, const void *, size_t) {
    return SUCCESS;
}

/* One algorithm, which needs no workspace. Like CUDA 13's library on an H200, it rejects a scale of an output of more than
   8 bits. */
int cublasLtMatmulAlgoGetHeuristic(void *, struct description *description, struct layout *, struct layout *,
                                   struct layout *, struct layout *d, void *, int requested, struct heuristic *results,
                                   int *returned) {
    if (requested < 1 || (description->output_scale && d->type != E4M3 && d->type != E5M2))
        return INVALID_VALUE;
    memset(results, 0, sizeof *results);
    *returned = 1;
    return SUCCESS;
}

int cublasLtMatmulAlgoInit(void *, int, int, int, int, int, int, int, void *) {
    return SUCCESS;
}

int cublasLtMatmulAlgoConfigSetAttribute(void *, int, const void *, size_t) {
    return SUCCESS;
}

int cublasLtMatmul(void *, struct description *description, const void *, const void *, struct layout *a, const void *,
                   struct layout *b, const void *, const void *, struct layout *, void *, struct layout *d, const void *,
                   void *, size_t, cudaStream_t stream) {
    bool transposed = description->transpose_a != NOT_TRANSPOSED;
    uint64_t k = transposed ? a->rows : a->columns;
    standin_product("cublasLtMatmul", stream, (int64_t)d->rows, (int64_t)d->columns, (int64_t)k, d->batch, a->type,
                    b->type, d->type);
    return SUCCESS;
}

int cublasLtMatrixTransformDescCreate(void **description, int) {
    *description = calloc(1, 1);
    return SUCCESS;
}

int cublasLtMatrixTransformDescDestroy(void *description) {
    free(description);
    return SUCCESS;
}

int cublasLtMatrixTransform(void *, void *, const void *, const void *, void *, const void *, const void *, void *, void *,
                            void *, cudaStream_t stream) {
    standin_routine("cublasLtMatrixTransform", stream);
    return SUCCESS;
}
