/* front/gateway.h -- the HTTP door of the data plane. */
#ifndef SBX_GATEWAY_H
#define SBX_GATEWAY_H

#include "front/server.h"

struct req;

WAITS int gateway_serve(struct client *c);      /* a listener's serve */
int64_t gateway_in_flight(void);
/* For doors that are no model's: the body as a JSON object in r->json. False: the client was told; *rc is the door's result. */
WAITS bool gateway_json(struct req *r, int *rc);

#endif
