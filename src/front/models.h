/* front/models.h -- the list of models in each dialect: spec 02, 4.8. */
#ifndef SBX_FRONT_MODELS_H
#define SBX_FRONT_MODELS_H

#include "pipeline/snap.h"

void models_all(const struct snap *s, struct arena *a, const struct dialect_ops *d, struct buf *out);
/* One of them; false: no such model. */
bool models_one(const struct snap *s, str name, const struct dialect_ops *d, struct buf *out);

#endif
