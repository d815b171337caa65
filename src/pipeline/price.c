/* pipeline/price.c */
#include "pipeline/price.h"

#include <math.h>

#include "dialect/canonical.h"
#include "pipeline/snap.h"

static const uint64_t SECOND = 1000000000ull;

const struct pricing_conf *pricing_at(const struct pricing_conf *p, uint64_t wall_ns)
{
    int64_t now = (int64_t)(wall_ns / SECOND);
    const struct pricing_conf *found = p;
    for (size_t i = 0; i < p->n_periods && p->periods[i].from_s <= now; i++)
        found = &p->periods[i];
    return found;
}

/* Part of a whole that strangers report: never negative, never more than what is left of it. */
static double part(int64_t tokens, int64_t *left)
{
    int64_t n = tokens < 0 ? 0 : tokens > *left ? *left : tokens;
    *left -= n;
    return (double)n;
}

static double or_else(double price, double usual)
{
    return price > 0 ? price : usual;
}

/* spec 02, 7.3: cost = ((P-R-W) prompt + R cached_input + W (cache_write or prompt) + O completion) / 10^6, with R clamped to P
 * and W to P-R. Parts with a price of their own are taken out of P and O the same way. */
double pricing_cost(const struct pricing_conf *p, const struct usage *u)
{
    if (!p->is_set)
        return (double)NAN;
    int64_t prompt = u->prompt_tokens > 0 ? u->prompt_tokens : 0;
    int64_t answer = u->completion_tokens > 0 ? u->completion_tokens : 0;
    double cost = part(u->cached_tokens, &prompt) * p->cached_input;
    int64_t write = (int64_t)part(u->cache_write_tokens, &prompt);
    double write_price = or_else(p->cache_write, p->prompt);
    cost += part(u->cache_write_1h_tokens, &write) * or_else(p->cache_write_1h, write_price);
    cost += (double)write * write_price;
    cost += part(u->prompt_audio_tokens, &prompt) * or_else(p->audio_in, p->prompt);
    cost += part(u->prompt_image_tokens, &prompt) * or_else(p->image, p->prompt);
    cost += (double)prompt * p->prompt;
    cost += part(u->reasoning_tokens, &answer) * or_else(p->reasoning, p->completion);
    cost += part(u->completion_audio_tokens, &answer) * or_else(p->audio_out, p->completion);
    cost += (double)answer * p->completion;
    return cost / 1e6;
}

double price_of(const struct model *m, const struct usage *u, uint64_t wall_ns)
{
    return pricing_cost(pricing_at(&m->conf->pricing, wall_ns), u);
}

double price_most(const struct model *m, int64_t prompt_tokens, int64_t completion_tokens, uint64_t wall_ns)
{
    const struct pricing_conf *p = pricing_at(&m->conf->pricing, wall_ns);
    if (!p->is_set)
        return (double)NAN;
    double in = fmax(fmax(p->prompt, p->cache_write), fmax(p->cache_write_1h, p->image)), out = fmax(p->completion, p->reasoning);
    return ((double)prompt_tokens * fmax(in, p->audio_in) + (double)completion_tokens * fmax(out, p->audio_out)) / 1e6;
}

int64_t micro_usd(double cost, double rate)
{
    double micro = cost * rate * 1e6;
    if (!(micro > 0))
        return 0;
    /* Binary fractions of a price must not make a started micro-dollar out of a whole one. */
    return micro >= 9e15 ? (int64_t)9e15 : (int64_t)ceil(micro - 1e-6);
}

double exchange_rate(const struct config *c, str currency)
{
    double rate;
    if (currency.len == 0 || str_ieq(currency, S("USD")))
        return 1;
    for (size_t i = 0; i < c->tenancy.exchange_rates.n; i++)
        if (str_ieq(c->tenancy.exchange_rates.items[i][0], currency) && str_double(c->tenancy.exchange_rates.items[i][1], &rate))
            return rate;
    return (double)NAN;
}
