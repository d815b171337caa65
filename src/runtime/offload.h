/* runtime/offload.h -- a few threads for calls that cannot be made to wait politely: getaddrinfo, files. */
#ifndef SBX_OFFLOAD_H
#define SBX_OFFLOAD_H

#include "runtime/fiber.h"

enum { OFFLOAD_THREADS = 3, OFFLOAD_QUEUE_MAX = 1024 };    /* beyond: -EAGAIN */

/* Runs fn(arg) on an offload thread and waits for it. 0: done, arg is the caller's again. Negative
 * (-ETIMEDOUT, -ECANCELED, -EAGAIN): arg is freed by release(arg) when fn has returned. On a plain thread
 * fn runs right here. */
WAITS int offload(void (*fn)(void *arg), void *arg, void (*release)(void *arg), uint64_t deadline);
void offload_stop(void);                        /* at exit: waits for what runs */

#endif
