#!/bin/sh
# Start a GPU instance, run a batch on it, and see it off: for a small box that is always on, from cron or by hand.
#
# Nothing fires on an instance that is shut down, so somebody else has to wake it. The instance shuts itself down when
# the batch is done (`--then shutdown`), through costctl's proved stop of the engine. This script then asks the provider
# until it says "stopped", since only that ends the bill, and fails loudly if it does not.
#
# Set these in the environment, as the crontab beside this does from cloud-start.env; nothing here is guessed:
#
#   START_COMMAND    starts the instance and returns      aws ec2 start-instances --instance-ids i-0123456789abcdef0
#                                                         gcloud compute instances start gpu-1 --zone europe-west4-a
#                                                         aliyun ecs StartInstance --InstanceId i-abc
#   STATE_COMMAND    prints the instance's state          aws ec2 describe-instances --instance-ids i-0123456789abcdef0
#                        --query 'Reservations[0].Instances[0].State.Name' --output text
#   STOP_COMMAND     stops it, if it has not by itself    aws ec2 stop-instances --instance-ids i-0123456789abcdef0
#   STOPPED_STATE    what STATE_COMMAND prints then       stopped   (gcloud: TERMINATED)
#   SSH_TARGET       user@host, whose key is known        costctl@gpu-1
#   REMOTE_FOLDER    where the jobs lie there             /srv/jobs
#
# On AWS set the instance's shutdown behaviour to "stop"; with others make sure that a stopped instance is not billed.

set -eu

for name in START_COMMAND STATE_COMMAND STOP_COMMAND STOPPED_STATE SSH_TARGET REMOTE_FOLDER; do
    eval "value=\${$name:-}"
    if [ -z "$value" ]; then
        echo "cloud-start: $name is not set; the head of $0 says what it is. Nothing was started." >&2
        exit 2
    fi
done

WAIT_FOR_SSH_S=${WAIT_FOR_SSH_S:-600}
WAIT_FOR_STOP_S=${WAIT_FOR_STOP_S:-900}
LOOK_EVERY_S=${LOOK_EVERY_S:-10}

TRIES=${TRIES:-12}

state() {
    found=$(sh -c "$STATE_COMMAND") || found=unknown
    printf '%s' "$found" | tr -d '[:space:]'
}

# Whatever goes wrong once it was started: it must not stay on unseen.
stop_and_verify() {
    code=$?
    trap - EXIT
    deadline=$(($(date +%s) + WAIT_FOR_STOP_S))
    asked=no
    # A batch that went well shuts the instance down by itself; one that did not leaves that to us.
    [ "$code" -eq 0 ] || { sh -c "$STOP_COMMAND" && asked=yes; } || true
    while found=$(state); [ "$found" != "$STOPPED_STATE" ]; do
        if [ "$(date +%s)" -ge "$deadline" ]; then
            if [ "$asked" = no ]; then
                echo "cloud-start: it did not stop by itself within $WAIT_FOR_STOP_S s: stopping it" >&2
                sh -c "$STOP_COMMAND" || true
                asked=yes
                deadline=$(($(date +%s) + WAIT_FOR_STOP_S))
                continue
            fi
            echo "cloud-start: THE INSTANCE IS STILL BILLED: its state is '$found', not '$STOPPED_STATE'" >&2
            exit 1
        fi
        sleep "$LOOK_EVERY_S"
    done
    echo "cloud-start: stopped, as the provider says; the batch ended with exit code $code"
    exit "$code"
}

trap 'exit 130' INT TERM
trap stop_and_verify EXIT
echo "cloud-start: starting the instance"
sh -c "$START_COMMAND"

deadline=$(($(date +%s) + WAIT_FOR_SSH_S))
until ssh -o BatchMode=yes -o ConnectTimeout=10 "$SSH_TARGET" true 2>/dev/null; do
    if [ "$(date +%s)" -ge "$deadline" ]; then
        echo "cloud-start: no ssh to $SSH_TARGET within $WAIT_FOR_SSH_S s" >&2
        exit 1
    fi
    sleep "$LOOK_EVERY_S"
done

# A daemon with --on-idle poweroff runs there, so the batch can have the machine shut down. Its exit code is this script's.
# 255 is ssh's own: the connection was cut off, and the same command goes on where the batch was. 5 is a refusal, such as
# that of a batch that is still at work there, cut off from us.
results=out-$(date +%F).jsonl
while :; do
    code=0
    ssh -o BatchMode=yes -o ServerAliveInterval=30 "$SSH_TARGET" \
        "cd '$REMOTE_FOLDER' && /opt/costctl/bin/costctl batch jobs.jsonl -o $results --then shutdown" || code=$?
    TRIES=$((TRIES - 1))
    case $code in
        255 | 5) [ "$TRIES" -gt 0 ] && [ "$(state)" != "$STOPPED_STATE" ] || exit "$code" ;;
        *) exit "$code" ;;
    esac
    echo "cloud-start: the batch was cut off or refused ($code): trying again" >&2
    sleep "$LOOK_EVERY_S"
done
