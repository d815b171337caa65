/* select/pacing.c */
#include "select/pacing.h"

#include <math.h>
#include <string.h>

enum { RING = PACING_SLOTS + 1 };   /* a sliding window of PACING_SLOTS parts reaches into one more */

static uint64_t part_length(const struct pacing *p)
{
    uint64_t n = p->rules.window / PACING_SLOTS;
    return n ? n : 1;
}

void pacing_start(struct pacing *p, const struct pacing_rules *rules, uint64_t now)
{
    memset(p, 0, sizeof *p);
    p->rules = *rules;
    p->price = rules->price_start > 0 ? rules->price_start : 0;
    p->began = now;
    p->part = now / part_length(p);
}

void pacing_rule(struct pacing *p, const struct pacing_rules *rules, uint64_t now)
{
    if (p->rules.window != rules->window || p->rules.is_sliding != rules->is_sliding)
        pacing_start(p, rules, now);
    p->rules = *rules;
}

void pacing_recover(struct pacing *p)
{
    p->parts[p->part % RING].spent += p->promised;
    p->promised = 0;
}

static int64_t spent(const struct pacing *p)
{
    int64_t sum = 0;
    for (int i = 0; i < RING; i++)
        sum += p->parts[i].spent;
    return sum;
}

static double begun(const struct pacing *p)
{
    uint64_t sum = 0;
    for (int i = 0; i < RING; i++)
        sum += p->parts[i].begun;
    return (double)sum;
}

/* Share of the present window that is over; of a sliding one: of the ring that has been lived through. */
static double share_over(const struct pacing *p, uint64_t now)
{
    uint64_t lived = now > p->began ? now - p->began : 0;
    uint64_t since = p->rules.is_sliding ? lived : now % p->rules.window;
    return fmin(1, (double)(since < lived ? since : lived) / (double)p->rules.window);
}

/* Parts that lie behind become free: of a sliding window one after the other, of a fixed one all at its end. */
static void turn(struct pacing *p, uint64_t now)
{
    uint64_t part = now / part_length(p);
    if (part <= p->part)
        return;
    if (p->rules.is_sliding) {
        for (uint64_t k = p->part + 1; k <= part && k <= p->part + RING; k++)
            memset(&p->parts[k % RING], 0, sizeof p->parts[0]);
    } else if (now / p->rules.window != p->part * part_length(p) / p->rules.window) {
        p->rate = p->rate > 0 ? .5 * p->rate + .5 * begun(p) : begun(p);
        memset(p->parts, 0, sizeof p->parts);
    }
    p->part = part;
}

int64_t pacing_left(struct pacing *p, uint64_t now)
{
    turn(p, now);
    return p->rules.budget - spent(p) - p->promised;
}

double pacing_price(const struct pacing *p)
{
    return p->price;
}

/* Requests of a whole window at the pace of this one; what was learned of others (or was told) counts for the part that is still
 * to come. */
static double rate(const struct pacing *p, uint64_t now)
{
    double over = share_over(p, now), pace = begun(p) / fmax(over, 1.0 / PACING_SLOTS);
    double known = p->rate > 0 ? p->rate : p->rules.requests;
    return p->rules.is_sliding || known <= 0 ? pace : over * pace + (1 - over) * known;
}

/* Requests that the money in hand must still serve. Of a sliding window some comes free with every part, so only one part's. */
static double to_come(const struct pacing *p, uint64_t now)
{
    double share = p->rules.is_sliding ? 1.0 / PACING_SLOTS : 1 - (double)(now % p->rules.window) / (double)p->rules.window;
    return rate(p, now) * share;
}

bool pacing_admits(struct pacing *p, int64_t most, int64_t cheapest, uint64_t now)
{
    int64_t left = pacing_left(p, now);
    if (most > left)
        return false;
    return most <= cheapest || (double)(left - most) >= to_come(p, now) * (double)p->least;
}

bool pacing_reserve(struct pacing *p, int64_t most, uint64_t now)
{
    if (most < 0 || most > pacing_left(p, now)) {
        p->refused++;
        return false;
    }
    p->promised += most;
    p->parts[p->part % RING].begun++;
    return true;
}

/* One step of the dual ascent. A request's share is what is left, divided by those still to come: what was saved is given out
 * again, so the price need not be right to spend the budget. The scale lets a price of 0 rise: a share of money is worth a
 * hundredth of quality there. */
static void price_move(struct pacing *p, int64_t cost, uint64_t now)
{
    double left = (double)(p->rules.budget - spent(p) - p->promised), come = to_come(p, now);
    double share = p->rules.is_sliding ? (double)p->rules.budget / fmax(1, rate(p, now)) : left / fmax(1, come);
    if (!(share > 0))
        share = 1;
    double scale = fmax(p->price, .01 / (share / 1e9));
    double v = p->price + p->rules.step * scale * fmin(4, (double)cost / share - 1);
    p->price = v > 0 && isfinite(v) ? v : 0;
}

bool pacing_settle(struct pacing *p, int64_t most, int64_t cost, int64_t cheapest, uint64_t now)
{
    turn(p, now);
    p->promised = p->promised > most ? p->promised - most : 0;
    cost = cost > 0 ? cost : 0;
    p->parts[p->part % RING].spent += cost;
    p->least = p->least ? p->least + (cheapest - p->least) / 64 : cheapest;
    price_move(p, cost, now);
    return cost <= most;
}
