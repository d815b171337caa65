/* neural/lora.h -- a PEFT adapter: small changes to a model, merged into its weights while they are loaded. */
#ifndef SBX_LORA_H
#define SBX_LORA_H

#include "neural/weights.h"

struct adapter;

/* From a folder with adapter_config.json and adapter_model.safetensors. NULL and *e. */
struct adapter *adapter_open(const char *folder, struct err *e);
void adapter_close(struct adapter *d);              /* NULL is fine */
str  adapter_task(const struct adapter *d);         /* "SEQ_CLS", "TOKEN_CLS", ...; "" */

/* A tensor that takes the base model's place (modules_to_save, trained biases), by the base model's name without prefix; NULL:
 * none. */
const struct tensor *adapter_find(const struct adapter *d, const char *name);
/* Adds the delta of this module, if there is one, to weight [n][k]. */
int adapter_merge(const struct adapter *d, const char *module, float *weight, uint32_t n, uint32_t k, struct err *e);
/* After loading: every delta of the file has found its module. */
int adapter_check(const struct adapter *d, struct err *e);

#endif
