/* signal/rule.h -- what the files of this folder share: places, slots, numeric predicates. */
#ifndef SBX_SIGNAL_RULE_H
#define SBX_SIGNAL_RULE_H

#include "signal/signal.h"

/* A finding about one rule, at its place and under its path. */
void rule_finding(const struct signal_rule *rule, struct findings *out, const char *name,
                  enum severity severity, str hint, const char *format, ...)
    __attribute__((format(printf, 6, 7)));

/* The slot (type, name) made and given to unit u. */
uint32_t rule_slot(struct signal_build *b, struct signal_unit *u, str type, str name);

/* Unit u reads what a scan of the text finds; one scan serves all of them. */
enum { SCAN_NS = 3900 };
static inline void rule_scans(struct signal_unit *u, const struct scanner *scanner)
{
    u->shared = scanner;
    u->shared_ns = SCAN_NS;
}

/* A hidden slot NAME:SUFFIX of unit u: a number behind a rule, for predicates and projections. */
uint32_t rule_number(struct signal_build *b, struct signal_unit *u, str type, str name, const char *suffix);

/* Sets one slot with everything a signal may say of it. */
static inline void rule_says(struct sigset *s, uint32_t slot, bool matched, double confidence,
                             double value)
{
    sig_set(s, slot, matched);
    s->confidence[slot] = (float)confidence;
    s->value[slot] = value;
}

/* A number that is no match by itself: what predicates and projections read. */
static inline void rule_value(struct sigset *s, uint32_t slot, double value)
{
    sig_set(s, slot, false);
    s->value[slot] = value;
}

/* `predicate: {gt, gte, lt, lte}` as written (spec 2.3.3); `set` tells which were given. */
struct predicate_conf { double gt, gte, lt, lte; uint64_t set; };
extern const struct fields predicate_fields;

struct number_predicate predicate_of(const struct predicate_conf *c);   /* NAN: not given */
bool predicate_is_empty(const struct number_predicate *p);
bool predicate_holds(const struct number_predicate *p, double value);
/* max(.5, sigmoid(4 |value - first bound|)), bounds in the order gt, gte, lt, lte; 1 without. */
double predicate_confidence(const struct number_predicate *p, double value);
/* Findings: no comparator, gt with gte, lt with lte, empty range. */
void predicate_check(const struct predicate_conf *c, const struct signal_rule *rule,
                     struct findings *out);

#endif
