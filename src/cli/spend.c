/* cli/spend.c -- signalbox spend: who spent how much on what. */
#include "cli/cli.h"

#include "cli/tenancy.h"

static int print(struct arena *a, str by, str text)
{
    static const char *const numbers[] = { "requests", "prompt_tokens", "cached_tokens", "completion_tokens", "cost_usd" };
    struct json j;
    struct json_error je;
    struct table t = { .a = a };
    if (json_parse(a, text, &j, &je) < 0 || json_get(&j, 0, S("rows")) == JSON_NONE)
        return CLI_USAGE;
    static const char *const columns[] = { "day", "key", "user", "team", "project", "model" };
    bool shown[COUNT_OF(columns)];
    for (size_t i = 0; i < COUNT_OF(columns); i++) {
        str rest = by;
        shown[i] = false;
        while (rest.len)
            shown[i] |= str_eq(str_trim(str_cut(&rest, ',')), str_of(columns[i]));
        if (shown[i])
            table_cell(&t, str_of(columns[i]));
    }
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        table_cell(&t, str_of(numbers[i]));
    t.n_columns = (unsigned)t.n;
    JSON_EACH_ITEM(&j, json_get(&j, 0, S("rows")), row) {
        for (size_t i = 0; i < COUNT_OF(columns); i++)
            if (shown[i]) {
                str cell = json_shown(a, &j, row, columns[i]);
                table_cell(&t, cell.len ? cell : S("-"));
            }
        for (size_t i = 0; i < COUNT_OF(numbers); i++)
            table_cell(&t, json_shown(a, &j, row, numbers[i]));
    }
    return table_print(&t);
}

int cli_spend(int argc, char **argv)
{
    struct cli_args args = cli_args_start("spend", argc, argv);
    struct tenancy_target t = { .command = "spend" };
    const char *by = "model", *texts[8] = { 0 };
    static const struct { char id; const char *name; } filters[] = {
        { 'f', "from" }, { 't', "to" }, { 'k', "key" }, { 'u', "user" }, { 'g', "team" }, { 'p', "project" }, { 'm', "model" },
        { 'n', "limit" },
    };
    bool csv = false;
    int o, rc = CLI_FINE;
    struct arena *a = arena_new();
    while (rc == CLI_FINE && (o = cli_next(&args)) != CLI_END) {
        bool is_known = tenancy_option(&t, o, args.value) || o == 'b' || o == 'C';
        for (size_t i = 0; i < COUNT_OF(filters); i++)
            if (o == filters[i].id) {
                texts[i] = args.value;
                is_known = true;
            }
        if (o == 'b')
            by = args.value;
        csv |= o == 'C';
        if (o == CLI_WORD)
            rc = cli_usage_error("spend", "unexpected word '%s'", args.value);
        else if (!is_known)
            rc = CLI_USAGE;
    }
    str query = arena_printf(a, "group_by=" STR_FMT "%s", STR_ARG(path_escape(a, str_of(by))), csv ? "&format=csv" : ""), text;
    for (size_t i = 0; i < COUNT_OF(filters); i++)
        if (texts[i])
            query = arena_printf(a, STR_FMT "&%s=" STR_FMT, STR_ARG(query), filters[i].name,
                                 STR_ARG(path_escape(a, str_of(texts[i]))));
    if (rc == CLI_FINE)
        rc = tenancy_ask(&t, a, spend_answer, "GET", S("/api/v1/spend"), query, S(""), &text);
    if (rc == CLI_FINE)
        rc = csv ? cli_put(stdout, text) : t.json ? json_put(text) : print(a, str_of(by), text);
    arena_free(a);
    return rc;
}
