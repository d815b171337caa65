/* cli/budget.c -- signalbox budget: how much may be spent, and how much of it is. */
#include "cli/cli.h"

#include <math.h>

#include "base/put.h"
#include "cli/tenancy.h"

struct budget_words {
    struct arena *a;
    double amount;
    const char *period, *on_budget, *reserve, *per, *description;
    bool is_soft;
    str *matches; size_t n_matches;     /* "team=red" */
    str *reroute; size_t n_reroute;
};

static void text_write(struct json_writer *w, const char *key, const char *value)
{
    if (value)
        put_str(w, str_of(key), str_of(value));
}

static str body_write(const struct budget_words *b, const char *name, bool *ok)
{
    struct buf out = { 0 };
    struct json_writer w = { .out = &out };
    jw_begin(&w, '{');
    text_write(&w, "name", name);
    text_write(&w, "description", b->description);
    put_double(&w, S("amount_usd"), b->amount);
    text_write(&w, "period", b->period);
    text_write(&w, "on_budget", b->on_budget);
    text_write(&w, "reserve", b->reserve);
    if (b->is_soft)
        put_bool(&w, S("hard"), false);
    put_open(&w, S("match"), '{');
    for (size_t i = 0; i < b->n_matches; i++) {
        str value = b->matches[i], key = str_cut(&value, '=');
        *ok &= key.len && key.len < b->matches[i].len;
        put_str(&w, key, value);
    }
    jw_end(&w, '}');
    if (b->per) {
        str rest = str_of(b->per);
        put_open(&w, S("per"), '[');
        while (rest.len)
            jw_str(&w, str_trim(str_cut(&rest, ',')));
        jw_end(&w, ']');
    }
    if (b->n_reroute) {
        put_strs(&w, S("reroute_to"), b->reroute, b->n_reroute);
    }
    jw_end(&w, '}');
    return buf_to_arena(&out, b->a);
}

static void rows_add(struct table *t, const struct json *j, jref budget)
{
    static const char *const left[] = { "name", "source", "period", "on_budget" };
    jref subjects = json_get(j, budget, S("subjects"));
    uint32_t n = subjects == JSON_NONE ? 0 : json_count(j, subjects);
    jref item = subjects + 1;
    for (uint32_t i = 0; i < (n ? n : 1); i++) {
        for (size_t k = 0; k < COUNT_OF(left); k++)
            table_cell(t, json_shown(t->a, j, budget, left[k]));
        table_cell(t, n ? json_shown(t->a, j, item, "subject") : S(""));
        table_cell(t, json_shown(t->a, j, budget, "amount_usd"));
        table_cell(t, n ? json_shown(t->a, j, item, "spent_usd") : S("0"));
        table_cell(t, n ? json_shown(t->a, j, item, "left_usd") : json_shown(t->a, j, budget, "amount_usd"));
        if (n)
            item = j->nodes[item].next;
    }
}

static int print(struct arena *a, str text)
{
    static const char *const heads[] = { "name", "source", "period", "on_budget", "subject", "amount_usd", "spent_usd",
                                         "left_usd" };
    struct json j;
    struct json_error je;
    struct table t = { .a = a, .n_columns = COUNT_OF(heads) };
    if (json_parse(a, text, &j, &je) < 0)
        return CLI_USAGE;
    for (size_t i = 0; i < COUNT_OF(heads); i++)
        table_cell(&t, str_of(heads[i]));
    jref list = json_get(&j, 0, S("budgets"));
    if (list == JSON_NONE)
        rows_add(&t, &j, 0);
    else
        JSON_EACH_ITEM(&j, list, item)
            rows_add(&t, &j, item);
    return table_print(&t);
}

static int ask(const struct tenancy_target *t, const struct budget_words *b, const char *verb, const char *name)
{
    str path = S("/api/v1/budgets"), body = S(""), text;
    const char *method = "GET";
    bool ok = true;
    if (name)
        path = arena_printf(b->a, "/api/v1/budgets/" STR_FMT, STR_ARG(path_escape(b->a, str_of(name))));
    if (strcmp(verb, "set") == 0) {
        method = "PUT";
        body = body_write(b, name, &ok);
        if (isnan(b->amount))
            return cli_usage_error("budget", "set %s to how much? --amount USD", name);
        if (!ok)
            return cli_usage_error("budget", "--match is KEY=GLOB: team=red, model=gpt-*");
    } else if (strcmp(verb, "delete") == 0) {
        method = "DELETE";
    }
    int rc = tenancy_ask(t, b->a, budgets_answer, method, path, S(""), body, &text);
    if (rc != CLI_FINE)
        return rc;
    if (t->json)
        return json_put(text);
    return strcmp(verb, "delete") == 0 ? cli_put(stdout, S("deleted\n")) : print(b->a, text);
}

int cli_budget(int argc, char **argv)
{
    struct cli_args args = cli_args_start("budget", argc, argv);
    struct tenancy_target t = { .command = "budget" };
    struct budget_words b = { .a = arena_new(), .amount = (double)NAN };
    const char *verb = NULL, *name = NULL;
    int o, rc = CLI_FINE;
    while (rc == CLI_FINE && (o = cli_next(&args)) != CLI_END) {
        if (tenancy_option(&t, o, args.value))
            continue;
        switch (o) {
        case 'a':
            if (!str_double(str_of(args.value), &b.amount) || b.amount < 0)
                rc = cli_usage_error("budget", "--amount %s: US dollars", args.value);
            break;
        case 'P': b.period = args.value; break;
        case 'O': b.on_budget = args.value; break;
        case 'r': b.reserve = args.value; break;
        case 'p': b.per = args.value; break;
        case 'D': b.description = args.value; break;
        case 'F': b.is_soft = true; break;
        case 'm': *PUSH(b.a, b.matches, b.n_matches) = str_of(args.value); break;
        case 'R': *PUSH(b.a, b.reroute, b.n_reroute) = str_of(args.value); break;
        case CLI_WORD:
            if (verb && name)
                rc = cli_usage_error("budget", "unexpected word '%s'", args.value);
            else
                *(verb ? &name : &verb) = args.value;
            break;
        default: rc = CLI_USAGE;
        }
    }
    bool is_list = verb && strcmp(verb, "list") == 0;
    if (rc == CLI_FINE && (!verb || (!is_list && strcmp(verb, "show") && strcmp(verb, "set") && strcmp(verb, "delete"))))
        rc = cli_usage_error("budget", "list, show, set or delete?");
    else if (rc == CLI_FINE && !is_list && !name)
        rc = cli_usage_error("budget", "%s which budget?", verb);
    if (rc == CLI_FINE)
        rc = ask(&t, &b, verb, is_list ? NULL : name);
    arena_free(b.a);
    return rc;
}
