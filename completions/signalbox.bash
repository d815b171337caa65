# bash completion of signalbox; made by `signalbox completions bash`
_signalbox() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
    local options= words= files=
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        COMPREPLY=($(compgen -W 'serve check route explain replay classify embed train calibrate evaluate compose probe config key budget spend bench completions version help' -- "$cur"))
        return
    fi
    case ${COMP_WORDS[1]} in
    serve)
        options='--config --listen --admin --strict --help' words='' files='-c --config ' ;;
    check)
        options='--config --strict --json --help' words='' files='-c --config ' ;;
    route)
        options='--config --request --model --header --explain --json --help' words='' files='-c --config -r --request ' ;;
    explain)
        options='--config --log --verify --json --help' words='' files='-c --config -l --log ' ;;
    replay)
        options='--config --against --examples --json --help' words='' files='-c --config -a --against ' ;;
    classify)
        options='--config --signal --help' words='' files='-c --config ' ;;
    embed)
        options='--config --model --dimensions --help' words='' files='-c --config ' ;;
    train)
        options='--config --signal --data --out --positive --without --kind --by-source --always --trunk --copies --folds --words --letters --phrase --no-trunk --last-layer --c --c-words --share --false-alarms --anchor --at --evenness --licence --note --policy --encoder --newcomer --json --help' words='head selector' files='-c --config -d --data -o --out ' ;;
    calibrate)
        options='--config --signal --data --false-alarms --head --write --html --json --help' words='' files='-c --config -d --data -h --head --html ' ;;
    evaluate)
        options='--config --signal --data --head --threshold --policies --folds --encoder --seed --threads --judge-error --judge-repeats --judge-cost --caution --probes --svg --warm --runs --delay --drift --newcomer --exploration --floor --strategy --screen-top --rate --share --window --sliding --policy --outcomes --delta --alpha --html --json --help' words='signals selection online budget newcomer policy' files='-c --config -d --data -h --head --svg --policy --outcomes --html ' ;;
    compose)
        options='--sizes --budget --price --uncertain --general --seed --out --json --help' words='' files='-s --sizes -o --out ' ;;
    probe)
        options='--count --model --seed --out --json --help' words='DIR' files='-o --out ' ;;
    config)
        options='--config --help' words='schema defaults reference dump diff' files='-c --config ' ;;
    key)
        options='--owner --team --project --role --description --group --model --entrypoint --expires --rpm --tpm --concurrent --budget --period --on-budget --grace --admin --token-env --state --config --json --help' words='create list show rotate disable enable delete' files='--state -c --config ' ;;
    budget)
        options='--amount --period --per --match --on-budget --reroute-to --soft --reserve --description --admin --token-env --state --config --json --help' words='list show set delete' files='--state -c --config ' ;;
    spend)
        options='--by --from --to --key --user --team --project --model --limit --csv --admin --token-env --state --config --json --help' words='' files='--state -c --config ' ;;
    bench)
        options='--config --json --model --tokens --batch --threads --precision --mixed --kernel --learner --candidates --picks --help' words='decide signals encoder tokenizer select' files='-c --config ' ;;
    completions)
        options='--help' words='bash zsh fish' files='' ;;
    version)
        options='--json --help' words='' files='' ;;
    help)
        options='--help' words='serve check route explain replay classify embed train calibrate evaluate compose probe config key budget spend bench completions version help' files='' ;;
    esac
    if [[ " $files " == *" $prev "* ]]; then
        COMPREPLY=($(compgen -f -- "$cur"))
    elif [[ $cur == -* ]]; then
        COMPREPLY=($(compgen -W "$options" -- "$cur"))
    elif [[ -n $words ]]; then
        COMPREPLY=($(compgen -W "$words" -- "$cur"))
    else
        COMPREPLY=($(compgen -f -- "$cur"))
    fi
}
complete -o filenames -F _signalbox signalbox
