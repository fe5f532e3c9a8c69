# Completion of the siphook command.
_siphook() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command=${COMP_WORDS[1]}
	local commands="run check test reload record replay rollback status calls registrations metrics hangup stop version"
	if [ "$COMP_CWORD" -eq 1 ]; then
		mapfile -t COMPREPLY < <(compgen -W "$commands --help" -- "$cur")
		return
	fi
	case $prev in
	-c | --config | -s | --socket) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
	-l | --listen) mapfile -t COMPREPLY < <(compgen -W "udp:// tcp:// tls:// ws:// wss://" -- "$cur"); return ;;
	-o | --option) mapfile -t COMPREPLY < <(compgen -W "listen= workers= watch= log_level= control= handover= handover_secret= dns= data= gather= session_expires= tls_certificate= tls_private_key= tls_ca= tls_verify= ws_origin= config." -- "$cur"); return ;;
	esac
	if [[ $cur == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$(siphook "$command" --help 2>/dev/null | grep -oE -- '--[a-z]+')" -- "$cur")
		return
	fi
	case $command in
	run | check | test) mapfile -t COMPREPLY < <(compgen -f -X '!*.lua' -- "$cur"; compgen -d -- "$cur") ;;
	hangup) mapfile -t COMPREPLY < <(compgen -W "$(siphook calls --json 2>/dev/null | grep -oE '"id": *"[^"]+"' | cut -d'"' -f4)" -- "$cur") ;;
	esac
}
complete -o filenames -F _siphook siphook
