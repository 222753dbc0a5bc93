/* Declarations that streams.c and capture.c share. */
#ifndef STANDIN_STREAMS_H
#define STANDIN_STREAMS_H

#include "../standin.h"

/* Values of cudaStreamCaptureStatus. */
enum capture_status { CAPTURE_NONE, CAPTURE_ACTIVE, CAPTURE_INVALID };

struct standin_graph {
    unsigned kernels, products, copies;
    struct standin_step *first, **last;
};

struct standin_stream {
    int number, device;
    enum capture_status status;
    /* Value of cudaStreamCaptureMode. */
    int mode;
    struct standin_graph *graph;
};

#endif
