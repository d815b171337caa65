/* front/gateway.h -- the HTTP door of the data plane. */
#ifndef SBX_GATEWAY_H
#define SBX_GATEWAY_H

#include "front/server.h"

WAITS int gateway_serve(struct client *c);      /* a listener's serve */
int64_t gateway_in_flight(void);

#endif
