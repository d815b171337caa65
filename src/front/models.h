/* front/models.h -- GET /v1/models: spec 02, 4.8. */
#ifndef SBX_MODELS_H
#define SBX_MODELS_H

#include "pipeline/snap.h"

void models_json(const struct snap *s, struct buf *out);
bool models_json_one(const struct snap *s, str name, struct buf *out);

#endif
