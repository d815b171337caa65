/* select/off_policy.h -- what would another policy have brought, from the log of this one?
 *
 * Each logged event says what was chosen, with which propensity, and what came of it. Weighing events by (chance under the new
 * policy) / (propensity) makes the log look as if the new policy had chosen. IPS does that plainly, SNIPS divides by the sum of
 * weights (less noise, a little bias), DR also uses a model of rewards and only corrects its errors (right when either the
 * propensities or the model are right). The estimate is refused when the log cannot tell: events without propensities, arms that
 * were never tried, all weight on a few events. Pure; sums only. */
#ifndef SBX_SELECT_OFF_POLICY_H
#define SBX_SELECT_OFF_POLICY_H

#include <stdbool.h>
#include <stdint.h>

struct ope_event {
    double propensity;              /* with which the logged policy chose this arm; NAN or <= 0: unknown, the event is left out */
    double target;                  /* chance of the same arm under the new policy */
    double reward;                  /* quality, cost, latency: any unit */
    double predicted;               /* the model's reward of this arm, made without this event; NAN: no model */
    double expected;                /* sum over arms of chance under the new policy times the model's reward */
    /* chance under the new policy of arms that the logged one could not have chosen; 0 if not known */
    double missing;
};

struct ope {                        /* zero-initialise; one for each kind of reward */
    uint64_t n, unknown;            /* used; without a propensity */
    double w, ww, wr, wwr, wwrr;    /* sums of weight, reward and their products */
    double r, rr;
    double z, zz;                   /* DR's terms, and of their difference to the logged reward: */
    double dz, dzz;
    double e, wx;                   /* expected; weighed residuals */
    double w_max, missing;
    bool has_model;
};

struct estimate { double mean, error; };    /* error: one standard error; NAN: cannot be told */

struct ope_report {
    struct estimate logged;         /* the log's own mean */
    struct estimate ips, snips, dr;
    struct estimate difference;     /* DR (SNIPS without a model) less the logged mean, paired */
    double effective;               /* events that would carry as much: (sum w)^2 / sum w^2 */
    const char *refused;            /* NULL, or a sentence why no estimate should be believed */
};

void ope_add(struct ope *o, const struct ope_event *e);
void ope_merge(struct ope *to, const struct ope *from);
struct ope_report ope_close(const struct ope *o);

#endif
