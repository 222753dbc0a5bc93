/* Events of cuBLAS and cuBLASLt. Their kernels are unknown, so calls have separate events. */
#include "../standin.h"

/* Names of cudaDataType. */
static const char *type_name(int type) {
    switch (type) {
    case 0:
        return "f32";
    case 1:
        return "f64";
    case 2:
        return "f16";
    case 3:
        return "i8";
    case 10:
        return "i32";
    case 14:
        return "bf16";
    case 28:
        return "e4m3";
    case 29:
        return "e5m2";
    }
    return "other";
}

void standin_product(const char *call, cudaStream_t stream, int64_t m, int64_t n, int64_t k, int64_t batch, int type_a,
                     int type_b, int type_c) {
    bool captured = standin_capture_launch(stream, true);
    standin_log("product device=%d stream=%d captured=%d m=%lld n=%lld k=%lld batch=%lld types=%s,%s,%s call=%s",
                standin_stream_device(stream), standin_stream_number(stream), captured, (long long)m, (long long)n,
                (long long)k, (long long)batch, type_name(type_a), type_name(type_b), type_name(type_c), call);
}

void standin_routine(const char *call, cudaStream_t stream) {
    bool captured = standin_capture_launch(stream, false);
    standin_log("routine device=%d stream=%d captured=%d call=%s", standin_stream_device(stream),
                standin_stream_number(stream), captured, call);
}
