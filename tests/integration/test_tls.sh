#!/bin/bash
# A whole cluster under mutual TLS, with a CA made here: files and a job go through; whoever shows no certificate of this CA, or
# speaks plain text, gets nothing; the user is who the certificate says.
. "$(dirname "$0")/../lib/cluster.sh"
cd "$T"

key='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'
# make_ca NAME
make_ca()
{
    # shellcheck disable=SC2086
    openssl req -x509 $key -keyout "$1.key" -out "$1.pem" -days 2 -subj "/CN=$1" 2>/dev/null
}

# make_cert NAME CA
make_cert()
{
    # shellcheck disable=SC2086
    openssl req $key -keyout "$1.key" -out "$1.csr" -subj "/CN=$1" 2>/dev/null
    openssl x509 -req -in "$1.csr" -CA "$2.pem" -CAkey "$2.key" -CAcreateserial -days 2 -out "$1.pem" \
        -extfile <(echo 'subjectAltName=IP:127.0.0.1,DNS:localhost') 2>/dev/null
}

make_ca ca
make_ca other
make_cert daemon ca
make_cert alice ca
make_cert mallory other

# as NAME COMMAND...: with the certificate of NAME.
as()
{
    local name=$1
    shift
    TRIREME_TLS_CA=$T/ca.pem TRIREME_TLS_CERT=$T/$name.pem TRIREME_TLS_KEY=$T/$name.key "$@"
}

mkdir "$CLUSTER"
cat >"$CLUSTER/trireme.conf" <<END
[all]
tls-ca = $T/ca.pem
tls-cert = $T/daemon.pem
tls-key = $T/daemon.key
END
say "a cluster of daemons that know one another by certificate"
as daemon cluster_up --chunkservers 3 --workers 2 --fsmaster-arg=--superuser=daemon

say "the file masters agree with one another by certificate"
as daemon dfs admin raft status --json >status
[ "$(grep -o '"role": *"follower"' status | wc -l)" = 2 ] || { cat status >&2; fail "not two followers"; }

say "files, by a user that the certificate names"
random_file in 5000000 7
as daemon dfs mkdir /people
as daemon dfs chown alice /people
as alice dfs put --chunk-size 1M in /people/in
as alice dfs cat /people/in | cmp - in
TRIREME_HOST=elsewhere as alice dfs cat /people/in | cmp - in # over the network
as alice dfs stat %u /people/in | grep -qx alice || fail "the owner is not alice"
expect 1 as alice dfs mkdir /forbidden
grep -q 'permission denied' "$T/err" || fail "no word of permission"
expect 1 as alice dfs --user daemon mkdir /forbidden
as daemon dfs --user alice mkdir /people/for-alice # the superuser may act for somebody
as daemon dfs stat %u /people/for-alice | grep -qx alice || fail "the superuser cannot act for alice"

say "a job"
printf 'a b a\nb a\n' >words
as alice dfs put words /people/words
as alice mr run --quiet --lib "$TRIREME_BUILD/wordcount.so" -i /people/words -o /people/counts -r 1
as alice dfs cat '/people/counts/part-*' >out
printf 'a\t3\nb\t2\n' | cmp - out || fail "wrong counts"

say "others get nothing"
expect 1 as mallory dfs --timeout 1s ls /
expect 1 dfs --timeout 1s ls / # plain text
expect 1 env TRIREME_TLS_CA="$T/other.pem" TRIREME_TLS_CERT="$T/alice.pem" TRIREME_TLS_KEY="$T/alice.key" \
    dfs --timeout 1s ls / # a client that trusts another CA talks to nobody here
as alice dfs ls /people >/dev/null
say "done"
