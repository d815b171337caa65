/* pipeline/price.h -- what an answer costs: spec 02, 7.3, and prices VSR has no keys for.
 *
 * Prices are per million tokens in a model's currency; so one token costs as many millionths. Budgets count micro-USD. */
#ifndef SBX_PRICE_H
#define SBX_PRICE_H

#include "config/config.h"

struct model;
struct usage;

/* The prices in force at that time: of the last period that has begun, else the model's own. */
const struct pricing_conf *pricing_at(const struct pricing_conf *p, uint64_t wall_ns);
double pricing_cost(const struct pricing_conf *p, const struct usage *u);       /* in its currency; NAN: no price is known */
double price_of(const struct model *m, const struct usage *u, uint64_t wall_ns);    /* both together */

/* Millionths of a USD, a started one counts; 0 when the price is unknown. `rate`: USD for one unit of the currency. */
int64_t micro_usd(double cost, double rate);
double exchange_rate(const struct config *c, str currency);     /* 1 for USD and "", NAN: not configured */

/* The most that an answer of so many tokens may cost, for reservations: no cache hit is assumed. */
double price_most(const struct model *m, int64_t prompt_tokens, int64_t completion_tokens, uint64_t wall_ns);

#endif
