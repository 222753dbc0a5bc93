/* cuBLAS: matrix multiplications, which write a line to the log and compute nothing. */
#include "standin.h"

#include <stdlib.h>

/* The only value of cublasStatus_t that is needed. */
enum { SUCCESS = 0 };
/* Values of cudaDataType. */
enum { FLOAT = 0, DOUBLE = 1 };

struct handle {
    cudaStream_t stream;
    int math_mode;
};

int cublasCreate_v2(struct handle **handle) {
    *handle = calloc(1, sizeof **handle);
    return SUCCESS;
}

int cublasDestroy_v2(struct handle *handle) {
    free(handle);
    return SUCCESS;
}

int cublasSetStream_v2(struct handle *handle, cudaStream_t stream) {
    handle->stream = stream;
    return SUCCESS;
}

int cublasGetMathMode(struct handle *handle, int *mode) {
    *mode = handle->math_mode;
    return SUCCESS;
}

int cublasSetMathMode(struct handle *handle, int mode) {
    handle->math_mode = mode;
    return SUCCESS;
}

const char *cublasGetStatusName(int) {
    return "CUBLAS_STATUS_SUCCESS";
}

const char *cublasGetStatusString(int) {
    return "success";
}

int cublasGemmEx(struct handle *handle, int, int, int m, int n, int k, const void *, const void *, int type_a, int,
                 const void *, int type_b, int, const void *, void *, int type_c, int, int, int) {
    standin_product("cublasGemmEx", handle->stream, m, n, k, 1, type_a, type_b, type_c);
    return SUCCESS;
}

int cublasGemmStridedBatchedEx(struct handle *handle, int, int, int m, int n, int k, const void *, const void *,
                               int type_a, int, long long, const void *, int type_b, int, long long, const void *, void *,
                               int type_c, int, long long, int batch, int, int) {
    standin_product("cublasGemmStridedBatchedEx", handle->stream, m, n, k, batch, type_a, type_b, type_c);
    return SUCCESS;
}

int cublasGemmBatchedEx(struct handle *handle, int, int, int m, int n, int k, const void *, const void *const *,
                        int type_a, int, const void *const *, int type_b, int, const void *, void *const *, int type_c,
                        int, int batch, int, int) {
    standin_product("cublasGemmBatchedEx", handle->stream, m, n, k, batch, type_a, type_b, type_c);
    return SUCCESS;
}

/* These functions differ only in the type. */
#define PRODUCTS(letter, number, type)                                                                                 \
    int cublas##letter##gemm_v2(struct handle *handle, int, int, int m, int n, int k, const number *, const number *,   \
                                int, const number *, int, const number *, number *, int) {                             \
        standin_product("cublas" #letter "gemm", handle->stream, m, n, k, 1, type, type, type);                        \
        return SUCCESS;                                                                                                \
    }                                                                                                                  \
    int cublas##letter##gemmStridedBatched(struct handle *handle, int, int, int m, int n, int k, const number *,       \
                                           const number *, int, long long, const number *, int, long long,             \
                                           const number *, number *, int, long long, int batch) {                      \
        standin_product("cublas" #letter "gemmStridedBatched", handle->stream, m, n, k, batch, type, type, type);      \
        return SUCCESS;                                                                                                \
    }                                                                                                                  \
    int cublas##letter##gemmBatched(struct handle *handle, int, int, int m, int n, int k, const number *,              \
                                    const number *const *, int, const number *const *, int, const number *,            \
                                    number *const *, int, int batch) {                                                 \
        standin_product("cublas" #letter "gemmBatched", handle->stream, m, n, k, batch, type, type, type);             \
        return SUCCESS;                                                                                                \
    }

PRODUCTS(S, float, FLOAT)
PRODUCTS(D, double, DOUBLE)

/* Other routines. They read only the handle, so the other parameters are omitted, which the calling convention allows. */
#define ROUTINE(name)                                                                                                  \
    int name(struct handle *handle) {                                                                                  \
        standin_routine(#name, handle->stream);                                                                        \
        return SUCCESS;                                                                                                \
    }

ROUTINE(cublasSgeam)
ROUTINE(cublasDgeam)
ROUTINE(cublasScopy_v2)
ROUTINE(cublasSscal_v2)
ROUTINE(cublasSgetrfBatched)
ROUTINE(cublasDgetrfBatched)
ROUTINE(cublasSgetriBatched)
ROUTINE(cublasDgetriBatched)
