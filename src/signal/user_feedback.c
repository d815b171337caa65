/* signal/user_feedback.c -- is the user content with the previous answer (spec 2.4.5)?
 *
 * The names are fixed by the classifier's labels; a rule under any other name never holds. */
#include "signal/rule.h"

struct user_feedback_conf { str description; };

static const struct field user_feedback_table[] = {
    F(FIELD_STR, struct user_feedback_conf, description, "description", NULL, "for people"),
};

static void user_feedback_check(const struct signal_rule *rule, const struct profile *p,
                                struct findings *out)
{
    static const char *const names[] = {
        "satisfied", "need_clarification", "wrong_answer", "want_different",
    };
    (void)p;
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (str_eq(rule->name, str_of(names[i])))
            return;
    }
    rule_finding(rule, out, "dead-rule", SEVERITY_WARNING,
                 S("the names are satisfied, need_clarification, wrong_answer, want_different"),
                 "user_feedback never reports \"" STR_FMT "\"", STR_ARG(rule->name));
}

const struct signal_ops signal_user_feedback = {
    .type = "user_feedback",
    .collection = "user_feedbacks",
    .response_key = "user_feedback",
    .header = "x-vsr-matched-user-feedback",
    .fields = FIELDS(struct user_feedback_conf, user_feedback_table),
    .check = user_feedback_check,
    .make = rule_slots,
};
