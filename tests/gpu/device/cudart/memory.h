/* Declarations that addresses.c, memory.c and pinned.c share. */
#ifndef STANDIN_MEMORY_H
#define STANDIN_MEMORY_H

#include "../standin.h"

enum { STANDIN_MOST_DEVICES = 8 };

/* Addresses of a device. They are never reused, so there are many more than bytes of memory. */
static const size_t STANDIN_RANGE = (size_t)1 << 42;

/* addresses.c: an address of a device. */
void *standin_address(int device, size_t offset);
/* addresses.c: returns the pages of freed memory to the machine. */
void standin_clear(const void *address, size_t bytes);
/* pinned.c: whether an address is the start of pinned memory. */
bool standin_is_pinned(const void *address);

#endif
