/* The log: one line per event, with the event's name and key=value pairs.
 *
 *   start        devices memory
 *   kernel       device stream captured grid block shared name
 *   product      device stream captured m n k batch types call       (a matrix multiplication of cuBLAS or cuBLASLt)
 *   routine      device stream captured call                         (another routine of cuBLAS)
 *   copy, fill   device stream captured direction bytes call
 *   allocate     device bytes used peak call
 *   free         device bytes used call
 *   out_of_memory device bytes used memory call
 *   synchronize  device stream what
 *   capture      device stream state kernels products copies         (state: begin, end, invalid)
 *   graph_launch device stream kernels products copies
 *   error        device code call
 *
 * Sizes are in bytes. `captured` is 1 for work that a graph records and that has not run. Stream 0 is the default
 * stream. STANDIN_CUDA_LOG names the file. Without it, nothing is logged.
 */
#define _GNU_SOURCE
#include "../standin.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int file = -1;
static pthread_once_t opened = PTHREAD_ONCE_INIT;

uint64_t standin_setting(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    if (!text || !*text)
        return otherwise;
    char *end;
    uint64_t value = strtoull(text, &end, 10);
    if (*end) {
        fprintf(stderr, "stand-in device: %s=%s is not a whole number\n", name, text);
        exit(2);
    }
    return value;
}

static void open_file(void) {
    const char *path = getenv("STANDIN_CUDA_LOG");
    if (!path || !*path)
        return;
    file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (file < 0) {
        perror(path);
        exit(2);
    }
}

void standin_log(const char *format, ...) {
    pthread_once(&opened, open_file);
    if (file < 0)
        return;
    char line[8192];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line - 1, format, arguments);
    va_end(arguments);
    /* Names of CUTLASS kernels can exceed the buffer. The end of such a name is lost, but the line break is kept. */
    if (length > (int)sizeof line - 2)
        length = sizeof line - 2;
    line[length] = '\n';
    /* One write per line, so that lines of several threads do not mix and a crash loses none. */
    if (write(file, line, (size_t)length + 1) < 0)
        perror("stand-in device: log");
}

__attribute__((constructor)) static void start(void) {
    standin_log("start devices=%d memory=%llu", standin_devices(), (unsigned long long)standin_memory());
}
