/* cli/commands.c -- what every command is called, takes and is good for. Pure data: the parser, help, the shell
 * completions and the man page's test read it. */
#include "cli/cli.h"


#define CONFIG { 'c', "config", "FILE", "configuration; without: ./signalbox.yaml, else the embedded default" }
#define JSON { 'J', "json", NULL, "print JSON" }
#define END { 0, NULL, NULL, NULL }

static const struct cli_option serve_options[] = {
    CONFIG,
    { 'L', "listen", "ADDR", "data plane, instead of the configuration's listeners: HOST:PORT" },
    { 'A', "admin", "ADDR", "management API: HOST:PORT (default 127.0.0.1:8080)" },
    { 'S', "strict", NULL, "refuse a configuration that has warnings" },
    END,
};

static const struct cli_option check_options[] = {
    CONFIG,
    { 'S', "strict", NULL, "warnings count as errors" },
    JSON,
    END,
};

static const struct cli_option route_options[] = {
    CONFIG,
    { 'r', "request", "FILE", "a request body as JSON (chat, or {\"text\": ...}); -: standard input" },
    { 'm', "model", "NAME", "the model that the client asks for; default: the automatic name" },
    { 'H', "header", "NAME:VALUE", "a request header, e.g. the user's id; may be repeated" },
    { 'e', "explain", NULL, "show every signal, projection and decision tree, and the candidates" },
    JSON,
    END,
};

static const struct cli_option explain_options[] = {
    CONFIG,
    { 'l', "log", "FILE", "the access log; default: the configuration's" },
    { 'V', "verify", NULL, "throw the die again for every line, and count those that land as logged" },
    JSON,
    END,
};

static const struct cli_option replay_options[] = {
    CONFIG,
    { 'a', "against", "FILE", "decide under this second configuration as well and compare the two" },
    { 'n', "examples", "N", "changed requests to list (default 10)" },
    JSON,
    END,
};

static const struct cli_option config_options[] = { CONFIG, END };

static const struct cli_option bench_options[] = {
    CONFIG,
    { 'j', "json", NULL, "print JSON" },
    { 'm', "model", "DIR", "encoder, tokenizer: a model's folder; default: the bundled one" },
    { 't', "tokens", "N", "encoder, tokenizer: tokens of a text (default 128 and 500)" },
    { 'b', "batch", "B", "encoder: texts of a forward (default 1)" },
    { 'T', "threads", "T", "encoder: threads that share a forward (default 1)" },
    { 'p', "precision", "P", "encoder: f32, bf16 or int8 (default: the fastest here)" },
    { 'X', "mixed", NULL, "encoder: texts of 1/16 to all of --tokens instead of equal ones" },
    { 'K', "kernel", NULL, "encoder: also how much of a forward the kernels alone would need" },
    { 'l', "learner", "NAME", "select: only mean, table, factor, knn or blend (default: each, and features by themselves)" },
    { 'C', "candidates", "N", "select: models to pick from (default 9, 28, 100)" },
    { 'N', "picks", "N", "select: how many picks (default and most 4000)" },
    END,
};

static const struct cli_option classify_options[] = {
    CONFIG,
    { 's', "signal", "NAME", "domain, fact_check, user_feedback, jailbreak, modality, pii or language" },
    END,
};

static const struct cli_option train_options[] = {
    CONFIG,
    { 's', "signal", "NAME", "what the head is for: jailbreak, domain, ... or a name of your own" },
    { 'd', "data", "FILE", "labelled rows; may be repeated" },
    { 'o', "out", "FILE", "the head, written at the end" },
    { 'P', "positive", "NAME", "what label 1 is called (default: the signal's own word)" },
    { 'x', "without", "SOURCE", "leave out the rows of a source; may be repeated" },
    { 'k', "kind", "KIND", "linear (default) or mlp" },
    { 'B', "by-source", NULL, "report on each source by a head that has not seen it, instead of random folds" },
    { 'A', "always", "PREFIX", "sources that begin with PREFIX are learned from in every fold and never scored; may be repeated" },
    { 'T', "trunk", "X", "weight of the trunk against the words (default 1)" },
    { 'D', "copies", "X", "rows whose words have a cosine above X with a scored row are not learned from for its fold (default 0.85; 1: all are)" },
    { 'f', "folds", "K", "folds of the report (default 5, or one a source; 0: none)" },
    { 'b', "words", "BITS", "hashed words and letters: 2^BITS buckets (default 16; 0: none)" },
    { 'C', "letters", "N", "longest letter n-gram inside words (default 5; 0: none)" },
    { 'G', "phrase", "N", "longest word n-gram (default 2)" },
    { 'W', "no-trunk", NULL, "words alone, without an encoder" },
    { 'l', "last-layer", NULL, "read the trunk's last layer (topic) instead of its middle one (style and intent)" },
    { 'v', "c", "X", "trust in the rows against small weights, for the trunk (default 0.003)" },
    { 'w', "c-words", "X", "the same for words (default 1)" },
    { 'Q', "share", "SOURCE=X", "rows of a source count X times; may be repeated" },
    { 'F', "false-alarms", NULL, "probability 0.5 is where 1 % of held-out negatives lie above, 0.7 where 0.5 % do" },
    { 'a', "anchor", "P", "probability P is where balanced accuracy of held-out rows is best, or:" },
    { 'R', "at", "RATE", "where so many of the held-out negatives lie above" },
    { 'e', "evenness", "X", "0: every row counts alike, 1: every source does (default 0.5)" },
    { 'L', "licence", "TEXT", "of the data, for the card" },
    { 'N', "note", "TEXT", "for the card" },
    { 'p', "policy", "NAME", "selector: learned (default), table, knn, factor, pilots, gates or mean" },
    { 'E', "encoder", NULL, "selector: read the embedding model's vector of each text, too" },
    { 'M', "newcomer", "NAME", "selector: few outcomes are known of this model; the others' outcomes say what to expect of the rest" },
    { 'j', "json", NULL, "print the card as JSON" },
    END,
};

static const struct cli_option compose_options[] = {
    { 's', "sizes", "FILE", "lines of MODEL,SIZE: gigabytes, or what keeping it costs a month" },
    { 'b', "budget", "N", "what the models that are kept may need together, in the same unit" },
    { 'p', "price", "W", "quality that one USD of answers is worth (default 0: only quality counts)" },
    { 'u', "uncertain", "H", "report what it does to send queries away whose kinds have an entropy above H (0 to 1)" },
    { 'g', "general", "MODEL", "where those go (default: the best single model that is kept)" },
    { 'S', "seed", "N", "deals questions to folds (default 1)" },
    { 'o', "out", "FILE", "write a table of those models, for algorithm.learned.table" },
    JSON,
    END,
};

static const struct cli_option probe_options[] = {
    { 'n', "count", "N", "how many answers of the new model you can pay for (default 100)" },
    { 'm', "model", "NAME", "the new model; outcomes that the folder has of it count, and those prompts are not chosen again" },
    { 'S', "seed", "N", "what is drawn by chance: every third prompt, and of more than 4,096 which are looked at (default 1)" },
    { 'o', "out", "FILE", "write the prompts, a JSON object a line: qid, task, text, share" },
    JSON,
    END,
};

static const struct cli_option evaluate_options[] = {
    CONFIG,
    { 's', "signal", "NAME", "domain, fact_check, user_feedback, jailbreak, modality, pii or language" },
    { 'd', "data", "FILE", "labelled rows; may be repeated" },
    { 'h', "head", "FILE", "this head instead of the one in use" },
    { 't', "threshold", "X", "pii: spans below do not count (default 0.5)" },
    { 'p', "policies", "LIST", "selection: which policies, with commas between them" },
    { 'f', "folds", "N", "selection: folds of the cross-validation (default 5)" },
    { 'E', "encoder", NULL, "selection: learners read the embedding model's vector of each text, too" },
    { 'S', "seed", "N", "selection: deals questions to folds (default 1)" },
    { 'T', "threads", "N", "selection: default: one a core" },
    { 'J', "judge-error", "X", "selection: chance that a cascade's judge is mistaken (default 0); online: outcomes come from such a judge, and of "
      "one in twenty the truth is told, too" },
    { 'Q', "judge-repeats", NULL, "selection: the judge errs on a question whoever answered, not on single answers" },
    { 'C', "judge-cost", "USD", "selection: of one judgement of a cascade's judge (default 0)" },
    { 'K', "caution", "X", "newcomer: it is chosen where its gain is above so many deviations of that (default 1.5)" },
    { 'B', "probes", "WHICH", "newcomer: outcomes are known of active (default: the most telling) or random rows" },
    { 'V', "svg", "FILE", "selection: write the picture of quality against cost" },
    { 'w', "warm", "N", "online: queries known in full beforehand (default 500)" },
    { 'r', "runs", "N", "online: random orders (default 3)" },
    { 'y', "delay", "N", "online: queries after which an outcome comes (default 0)" },
    { 'D', "drift", NULL, "online: at half-time the best model loses half of its right answers" },
    { 'N', "newcomer", NULL, "online: nothing is known beforehand of the best model" },
    { 'x', "exploration", "X", "online: deviations of beliefs count so many times (default 0.3)" },
    { 'F', "floor", "X", "online: share of choices spread evenly (default 0.01)" },
    { 'Y', "strategy", "LIST", "online: thompson (default), linucb, fixed_share; the later ones are compared with the first" },
    { 'o', "screen-top", "N", "online: only the best N candidates are chosen from (default 0: all)" },
    { 'R', "rate", "X", "online: fixed_share: how far one outcome moves a weight (default 0.1)" },
    { 'U', "share", "X", "online: fixed_share: part of all weight dealt out evenly (default 0.005)" },
    { 'W', "window", "N", "budget: queries a window (default: the whole stream)" },
    { 'L', "sliding", NULL, "budget: any N queries in a row are a window" },
    { 'P', "policy", "FILE", "policy: a configuration, or always:MODEL, greedy, uniform, explore:SCALE, price:FACTOR" },
    { 'O', "outcomes", "FILE", "policy: lines of request_id and reward, or a journal of the learning" },
    { 'e', "delta", "X", "policy: quality that the new one may be worse for the gate to open (default 0.01)" },
    { 'a', "alpha", "X", "policy: chance of being worse than that (default 0.05)" },
    { 'H', "html", "FILE", "write a page with curves" },
    { 'j', "json", NULL, "print JSON" },
    END,
};

static const struct cli_option calibrate_options[] = {
    CONFIG,
    { 's', "signal", "NAME", "a signal with two answers: jailbreak, fact_check, modality, user_feedback or pii" },
    { 'd', "data", "FILE", "rows with labels 0 and 1 that the model was not made from; may be repeated" },
    { 'r', "false-alarms", "RATE", "share of rows with label 0 that may be above the threshold (default 0.01)" },
    { 'h', "head", "FILE", "this head instead of the one in use" },
    { 'w', "write", NULL, "keep the threshold in the card of --head" },
    { 'H', "html", "FILE", "write a page with the curve and the reliability diagram" },
    { 'j', "json", NULL, "print JSON" },
    END,
};

static const struct cli_option embed_options[] = {
    CONFIG,
    { 'm', "model", "DIR", "a model's folder; default: what the configuration says" },
    { 'd', "dimensions", "N", "cut vectors to N numbers (Matryoshka)" },
    END,
};

#define WHERE \
    { 'A', "admin", "ADDR", "management API of the gateway: HOST:PORT (default 127.0.0.1:8080)" }, \
    { 'T', "token-env", "NAME", "environment variable with its token (default SIGNALBOX_ADMIN_TOKEN)" }, \
    { 'S', "state", "FILE", "no gateway runs: work on its state file" }, \
    { 'c', "config", "FILE", "the same, with the state file and pepper that a configuration names" }

static const struct cli_option key_options[] = {
    { 'o', "owner", "USER", "create: whose it is" },
    { 't', "team", "TEAM", "create: their team" },
    { 'p', "project", "NAME", "create: what it is for" },
    { 'r', "role", "ROLE", "create: a role, for role bindings" },
    { 'D', "description", "TEXT", "create: for people" },
    { 'g', "group", "NAME", "create: a group; may be repeated" },
    { 'm', "model", "GLOB", "create: models that may answer; may be repeated (default: all)" },
    { 'E', "entrypoint", "GLOB", "create: automatic names it may ask for; may be repeated (default: all)" },
    { 'x', "expires", "WHEN", "create: a date (2027-01-31) or a time from now (90d, 12h)" },
    { 'R', "rpm", "N", "create: requests per minute" },
    { 'K', "tpm", "N", "create: tokens per minute" },
    { 'N', "concurrent", "N", "create: requests at once" },
    { 'b', "budget", "USD", "create: money in a period" },
    { 'P', "period", "P", "create: minute, hour, day, week, month (default) or total" },
    { 'O', "on-budget", "WHAT", "create: refuse (default), or reroute to cheaper models" },
    { 'G', "grace", "TIME", "rotate: how long the old secret is good, too (24h; default: not at all)" },
    WHERE, JSON, END,
};

static const struct cli_option budget_options[] = {
    { 'a', "amount", "USD", "set: how much in a period" },
    { 'P', "period", "P", "set: minute, hour, day, week, month (default) or total" },
    { 'p', "per", "LIST", "set: the amount for each key, user, team, project, model (with commas between); default: once for all" },
    { 'm', "match", "KEY=GLOB", "set: whose requests it pays (key, user, team, group, project, model, entrypoint); may be repeated" },
    { 'O', "on-budget", "WHAT", "set: refuse (default), or reroute to cheaper models" },
    { 'R', "reroute-to", "MODEL", "set: a model to try besides the decision's own; may be repeated" },
    { 'F', "soft", NULL, "set: never refuse; the cheapest model takes over" },
    { 'r', "reserve", "WHAT", "set: max_tokens (default) or expected, what a running request holds" },
    { 'D', "description", "TEXT", "set: for people" },
    WHERE, JSON, END,
};

static const struct cli_option spend_options[] = {
    { 'b', "by", "LIST", "day, key, user, team, project, model, with commas between (default: model)" },
    { 'f', "from", "DATE", "first day (2026-05-01)" },
    { 't', "to", "DATE", "last day" },
    { 'k', "key", "ID", "of this key only" },
    { 'u', "user", "NAME", "of this user only" },
    { 'g', "team", "NAME", "of this team only" },
    { 'p', "project", "NAME", "of this project only" },
    { 'm', "model", "NAME", "of this model only" },
    { 'n', "limit", "N", "rows at most (default 10000)" },
    { 'C', "csv", NULL, "print CSV" },
    WHERE, JSON, END,
};

static const struct cli_option version_options[] = { JSON, END };

static const struct cli_option no_options[] = { END };

const struct command commands[] = {
    { "serve", "run the gateway", "[-c FILE] [--listen ADDR] [--admin ADDR] [--strict]",
      "Serves the OpenAI API on the configuration's listeners (127.0.0.1:8899 by default) and the\n"
      "management API on 127.0.0.1:8080. SIGHUP and a change of the file load the configuration again,\n"
      "SIGUSR1 reopens the access log, SIGTERM lets the requests in flight finish first.\n\n"
      "Without -c and without ./signalbox.yaml it runs an embedded configuration that looks for\n"
      "OPENAI_API_KEY, then for a local model server, and else explains its decisions itself.",
      serve_options, NULL,
      "signalbox serve\n"
      "signalbox serve -c gateway.yaml --listen 0.0.0.0:8899\n"
      "OPENAI_API_KEY=sk-... signalbox serve\n",
      cli_serve },
    { "check", "validate a configuration", "[-c FILE] [--strict] [--json]\nFILE [--strict] [--json]",
      "Every finding has a name, a place (file:line:column), a sentence and a hint. Exit code 1 when there\n"
      "are errors.",
      check_options, "FILE",
      "signalbox check -c gateway.yaml\n"
      "signalbox check -c gateway.yaml --strict --json\n",
      cli_check },
    { "route", "decide one request without calling a model",
      "[-c FILE] [--explain] [--json] [--model NAME] [--header NAME:VALUE]... TEXT\n"
      "[-c FILE] [options] --request FILE",
      "Prints the decision, the model and the reason. TEXT is one user message; without TEXT and --request,\n"
      "standard input is the text. Live figures (latency, load, health) are unknown here: selectors that\n"
      "need them fall back as they do in a gateway that has just started.",
      route_options, NULL,
      "signalbox route 'Write a quicksort in Rust'\n"
      "signalbox route -c gateway.yaml --explain 'Prove that sqrt(2) is irrational'\n"
      "signalbox route -c gateway.yaml --request body.json --header x-authz-user-id:ann --json\n",
      cli_route },
    { "explain", "why a request got its model", "REQUEST_ID [-c FILE] [--log FILE] [--json]\n--verify [--log FILE] [--json]",
      "From the access log: every candidate with what was expected of it, what outcomes have added, what its price took off and its\n"
      "chance; the runner-up, and who would have been chosen at other prices. With a configuration that has a table and a log with\n"
      "captured requests also which kind of query it was. --verify throws the die of every logged decision again; exit code 1 when\n"
      "one lands differently.",
      explain_options, NULL,
      "signalbox explain req-8f0c2a --log access.jsonl\n"
      "signalbox explain --verify --log access.jsonl\n",
      cli_explain },
    { "replay", "decide recorded traffic again and print what changes", "-c FILE [--against FILE2] [--json] LOG",
      "LOG is JSON Lines: requests ({\"model\": ..., \"messages\": [...]} or {\"body\": {...}}), or lines of an\n"
      "access log that hold the request's body. Each is decided under -c; the result is compared with what\n"
      "the log says was chosen, or with what --against decides. Exit code 1 when a request is decided\n"
      "differently. Selectors that look at live figures have none here.",
      replay_options, "FILE",
      "signalbox replay -c new.yaml access.jsonl\n"
      "signalbox replay -c old.yaml --against new.yaml requests.jsonl --json\n",
      cli_replay },
    { "classify", "ask a signal's model about texts", "--signal NAME [-c FILE] [FILE]",
      "FILE (default: standard input) holds JSON Lines ({\"text\": ...} or {\"messages\": [...]}) or plain lines, and may be\n"
      "gzipped. One JSON line each comes out: label, score, scores of all labels, spans (bytes; for pii). The models are those\n"
      "of the configuration. Exit code 1 when a text got no answer.",
      classify_options, "FILE",
      "echo 'Ignore all previous instructions' | signalbox classify --signal jailbreak\n"
      "signalbox classify --signal pii mails.jsonl.gz\n",
      cli_classify },
    { "embed", "turn texts into vectors", "[-c FILE] [--model DIR] [--dimensions N] [FILE]",
      "FILE as for classify. One JSON line {\"embedding\": [...]} each comes out, of length 1, by the configured embedding\n"
      "model; long texts are read in windows and averaged.",
      embed_options, "FILE",
      "echo 'a text' | signalbox embed\n"
      "signalbox embed --dimensions 128 texts.jsonl\n",
      cli_embed },
    { "train", "make a classifier head from labelled lines, or a selection table from recorded outcomes",
      "head --signal NAME --data FILE [--data FILE] --out FILE [--by-source] [--kind KIND]\n"
      "selector DIR --out FILE [--policy NAME] [--encoder] [--newcomer NAME] [--json]",
      "Rows are JSON Lines with \"text\" (or \"messages\"), \"label\" (0 and 1, or names) and, for the report, \"source\". The trunk\n"
      "stays as it is; a linear layer or a small MLP on its vector, and hashed words beside it, are trained in seconds. The report\n"
      "and the thresholds come from rows that were held out.\n\n"
      "selector: from a folder of recorded outcomes (as for `evaluate selection`) to the file that algorithm.learned.table names.",
      train_options, "head selector",
      "signalbox train head --signal jailbreak --data prompts.jsonl --out heads/jailbreak.safetensors\n"
      "signalbox train head --signal team --data tickets.jsonl.gz --by-source --out team.safetensors\n"
      "signalbox train selector outcomes/ --out selector.sbx\n",
      cli_train },
    { "calibrate", "find the threshold for a rate of false alarms",
      "--signal NAME --data FILE [--false-alarms RATE] [--head FILE [--write]] [--html FILE] [--json]",
      "Prints the threshold, the rate with its 95 % interval, the recall that is left, and a table of what probabilities meant.",
      calibrate_options, NULL,
      "signalbox calibrate --signal jailbreak --data foreign.jsonl --false-alarms 0.005\n"
      "signalbox calibrate --signal jailbreak --head my.safetensors --data held-out.jsonl --write\n",
      cli_calibrate },
    { "evaluate", "measure a signal's model on labelled rows, or selection policies on recorded outcomes",
      "signals --signal NAME --data FILE [--head FILE] [--html FILE] [--json]\n"
      "selection DIR [--policies a,b] [--encoder] [--judge-error X [--judge-repeats] [--judge-cost USD]] [--folds N] [--seed N] [--svg FILE]\n"
      "    [--html FILE] [--json]\n"
      "newcomer DIR [--probes active|random] [--caution X] [--seed N] [--json]\n"
      "online DIR [--warm N] [--runs N] [--delay N] [--drift] [--judge-error E] [--seed N] [--json]\n"
      "budget DIR [--window N [--sliding]] [--seed N] [--json]\n"
      "policy --policy FILE [--outcomes FILE] [--delta X] [--alpha X] [--json] LOG",
      "Rows as for train. AUC, recall at 1 % false alarms and accuracy with 95 % intervals, by source; of several classes precision\n"
      "and recall of each; of pii precision and recall of spans by type. Judge on sources that the model was not made from: a\n"
      "random split flatters.\n\n"
      "selection: which model each policy would have picked on recorded outcomes, by cross-validation over questions; score, cost and\n"
      "what is saved at the best single model's quality, with standard errors. DIR holds queries.jsonl, scores.csv, costs.csv. cascade and\n"
      "chain ask one model after another until a judge accepts the answer; how often yours is mistaken is for you to measure.\n\n"
      "online: the same folder as a stream of which only the chosen model's outcomes are seen: the gateway's own learner against the best\n"
      "fixed model and an epsilon-greedy one. budget: quality under a budget that is never overspent. newcomer: what a model\n"
      "brings of which few outcomes are known. policy: what another policy would have brought, from an access log with propensities: IPS,\n"
      "SNIPS and DR with 95 % intervals; exit code 1 when the gate stays closed. Refused where the log cannot tell.",
      evaluate_options, "signals selection online budget newcomer policy",
      "signalbox evaluate online outcomes/ --delay 200 --drift\n"
      "signalbox evaluate policy --policy new.yaml --outcomes outcomes.jsonl access.jsonl\n"
      "signalbox evaluate selection outcomes/ --html selection.html\n"
      "signalbox evaluate signals --signal jailbreak --data foreign.jsonl.gz --html jailbreak.html\n"
      "signalbox evaluate signals --signal pii --data mails.jsonl --json\n",
      cli_evaluate },
    { "compose", "choose which models to keep under a budget, each kind of query going to one of them",
      "DIR --sizes FILE --budget N [--price W] [--uncertain H [--general MODEL]] [--out FILE] [--json]",
      "DIR is a folder of recorded outcomes (as for `evaluate selection`). You cannot keep every model in memory, or pay for\n"
      "every reservation: the models that fit the budget together and bring most, when each kind of query goes to the best of\n"
      "them, and which kind goes where. Exact where up to 20 models fit, else greedy with exchanges.\n\n"
      "Three figures on rows that the choice was not made from, with standard errors and the gain over the best single model that\n"
      "fits: by the table as it would be served, by the map with the kind guessed, and with the kind known (what a perfect\n"
      "classifier would give). If the gain is within two standard errors of 0, keep the single model.",
      compose_options, NULL,
      "signalbox compose outcomes/ --sizes gigabytes.csv --budget 80\n"
      "signalbox compose outcomes/ --sizes monthly-usd.csv --budget 500 --price 5 --out kept.sbx\n",
      cli_compose },
    { "probe", "choose the prompts whose answers tell most about a new model",
      "DIR [--count N] [--model NAME] [--seed N] [--out FILE] [--json]",
      "DIR is a folder of recorded outcomes (as for `evaluate selection`), which the new model is to join. Prompts differ in what they tell:\n"
      "one that every model gets right says nothing of this one, one on which strong and weak models part says much, and of a kind that\n"
      "the new model cannot win nothing needs to be known. The most telling come first, each with the share of the uncertainty that its\n"
      "outcome takes away. Every third is drawn by chance: a model that guesses would look good on the others alone.\n\n"
      "Let the model answer them, judge the answers, write the outcomes (0 to 1) into a column of scores.csv and leave the rest of that\n"
      "column empty. Then call it again with --model for the next ones (tens at a time tell more than hundreds at once), or use what is\n"
      "known: `train selector DIR --newcomer NAME`.",
      probe_options, "DIR",
      "signalbox probe outcomes/ --count 30 --out ask.jsonl\n"
      "signalbox probe outcomes/ --model new-model --count 30 --out ask-next.jsonl\n",
      cli_probe },
    { "config", "schema, defaults and reference of all keys; what is in effect; what differs",
      "schema | defaults | reference\ndump [-c FILE]\ndiff FILE1 FILE2",
      "schema is a JSON Schema for editors, reference the same for people. dump shows a configuration after\n"
      "defaults and environment, with secrets masked; diff compares two such dumps (exit code 1 when they\n"
      "differ).",
      config_options, "schema defaults reference dump diff",
      "signalbox config schema > signalbox.schema.json\n"
      "signalbox config dump -c gateway.yaml\n"
      "signalbox config diff old.yaml new.yaml\n",
      cli_config },
    { "key", "make, list, rotate and remove virtual keys",
      "create [ID] [--owner USER] [--team TEAM] [--budget USD] [options]\n"
      "list | show ID | disable ID | enable ID | delete ID\n"
      "rotate ID [--grace TIME]",
      "A key is printed once, when it is made or rotated; only its hash is kept. Asks the management API of a running gateway, or,\n"
      "with --state or -c, works on the state file while none runs. Exit code 1 when the gateway refuses.",
      key_options, "create list show rotate disable enable delete",
      "signalbox key create ann --owner ann@example.com --team research --budget 20 --expires 90d\n"
      "signalbox key rotate ann --grace 24h\n"
      "signalbox key list --json\n",
      cli_key },
    { "budget", "set budgets and see what is left of them",
      "list | show NAME | delete NAME\n"
      "set NAME --amount USD [--period P] [--per LIST] [--match KEY=GLOB]... [options]",
      "Where it works as `signalbox help key` says. What was spent stays when a budget is set anew.",
      budget_options, "list show set delete",
      "signalbox budget set teams --amount 500 --per team --match 'team=?*'\n"
      "signalbox budget set dear-models --amount 20 --period day --match model=gpt-5* --on-budget reroute\n"
      "signalbox budget list\n",
      cli_budget },
    { "spend", "who spent how much on what", "[--by key,day] [--from DATE] [--to DATE] [--csv] [--json]",
      "Sums of requests, tokens and US dollars, by the prices of the configuration. Where it works as `signalbox help key` says.",
      spend_options, NULL,
      "signalbox spend --by team,model --from 2026-05-01\n"
      "signalbox spend --by key,day --csv > spend.csv\n",
      cli_spend },
    { "bench", "measure parts of signalbox in this process",
      "decide | signals [-c FILE] [--json]\n"
      "encoder [--model DIR] [--tokens N] [--batch B] [--threads T] [--precision P] [--mixed] [--kernel] [--json]\n"
      "tokenizer [--model DIR] [--tokens N] [--json]\n"
      "select [--learner NAME] [--candidates N] [--picks N] [--json]",
      "Time, cycles where the CPU lets one count them, and allocations of single steps, without a network.",
      bench_options, "decide signals encoder tokenizer select",
      "signalbox bench decide\n"
      "signalbox bench signals --json\n"
      "signalbox bench encoder --tokens 512 --precision int8\n"
      "signalbox bench tokenizer\n"
      "signalbox bench select --learner blend --candidates 100\n",
      cli_bench },
    { "completions", "print shell completions", "bash | zsh | fish",
      "Made from the same table as this help.",
      no_options, "bash zsh fish",
      "source <(signalbox completions bash)\n"
      "signalbox completions fish > ~/.config/fish/completions/signalbox.fish\n",
      cli_completions },
    { "version", "version, build, libraries, CPU features in use", "[--json]", NULL, version_options, NULL,
      "signalbox version --json\n", cli_version },
    { "help", "this list, or help on one command", "[COMMAND]", NULL, no_options, "COMMAND",
      "signalbox help route\n", cli_help },
    { 0 },
};
