/* pipeline/budget.h -- the books: where budgets that were set at run time, and what was spent, are kept.
 *
 * Opens the ledger (store/ledger.h), puts what earlier runs spent into the meters, and gives the management API
 * and the command line one door to budgets. */
#ifndef SBX_BUDGET_H
#define SBX_BUDGET_H

#include "pipeline/limit.h"

struct value;
struct json_writer;
struct ledger;

/* At start, after the first configuration was read and before the loops run; path "" : memory. 0, or -1 and *e. Blocks. */
int  books_open(const struct config *c, struct err *e);
void books_close(void);                             /* at exit: what is pending is committed */
struct ledger *books(void);                         /* NULL: not open (command line) */

/* Budgets made at run time; they block (offload). */
int  budgets_put(str name, const struct value *body, bool is_new, struct err *e);   /* -EEXIST, -ENOENT, -1 */
int  budgets_delete(str name, struct err *e);       /* -ENOENT */
bool budgets_write(str name, const struct snap *s, struct json_writer *w);          /* "" : all, with what is spent */

/* The present set of run-time rules, held; NULL: none. */
struct budget_set;
const struct limit_rules *budget_set_hold(struct budget_set **held);
void budget_set_drop(struct budget_set *held);

/* Start of the period that `seconds` lies in; PERIOD_TOTAL: 0. And the end, INT64_MAX for PERIOD_TOTAL. */
int64_t period_start(enum period p, int64_t seconds);
int64_t period_end(enum period p, int64_t start);
bool period_parse(str text, enum period *out);
const char *period_name(enum period p);

#endif
