// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Configuration

/// Golden pairs: a file, and every line that is said about it.
struct ComplaintTests {
    struct Row: CustomTestStringConvertible {
        var text: String
        var said: String
        var why: String
        init(_ text: String, _ said: String, _ why: String) { (self.text, self.said, self.why) = (text, said, why) }
        var testDescription: String { why }
    }

    /// Line 1 is the test's; listeners stand on 2 and 3, upstreams on 4 and 5, routes on 6 and 7.
    @Test(arguments: [
        Row("thread: 2", "x.yaml:1:1: unknown key \"thread\"; did you mean threads?", "an unknown key has a neighbour"),
        Row(
            "ciphers: []",
            "x.yaml:1:1: unknown key \"ciphers\"; known are threads, server_name, seed, trusted_networks, request_id, admin, admin_token, explain, access_log, limits, cache, overload, redis, drain, listeners, upstreams, routes",
            "or it has none"),
        Row("access-log: off", "x.yaml:1:1: unknown key \"access-log\"; did you mean access_log?", "a dash for an underscore"),
        Row("threads: many", "x.yaml:1:10: threads: \"many\" is no integer; expected an integer from 1 to 1024", "not a number"),
        Row("threads: 0", "x.yaml:1:10: threads: \"0\" is out of range; expected an integer from 1 to 1024", "too small"),
        Row(
            "threads: 1e3", "x.yaml:1:10: threads: \"1e3\" is no integer; expected an integer from 1 to 1024",
            "no scientific numbers"),
        Row(
            "threads: 99999999999999999999",
            "x.yaml:1:10: threads: \"99999999999999999999\" is no integer; expected an integer from 1 to 1024", "beyond 64 bits"),
        Row("threads: [1]", "x.yaml:1:10: threads: is a list; expected an integer from 1 to 1024", "a list for a number"),
        Row("threads:", "x.yaml:1:9: threads: has no value; expected an integer from 1 to 1024", "nothing behind the colon"),
        Row(
            "drain: 30", "x.yaml:1:8: drain: \"30\" has no unit; expected a duration such as 250ms, 5s or 1m, from 0s to 1h",
            "a duration without unit"),
        Row(
            "drain: 30 s",
            "x.yaml:1:8: drain: \"30 s\" has the unknown unit \" s\"; expected a duration such as 250ms, 5s or 1m, from 0s to 1h",
            "a space before the unit"),
        Row(
            "drain: 2d",
            "x.yaml:1:8: drain: \"2d\" has the unknown unit \"d\"; expected a duration such as 250ms, 5s or 1m, from 0s to 1h",
            "an unknown unit"),
        Row(
            "drain: 2h", "x.yaml:1:8: drain: \"2h\" is out of range; expected a duration such as 250ms, 5s or 1m, from 0s to 1h",
            "too long"),
        Row(
            "overload: { memory: 5%, lag: 1ms }",
            "x.yaml:1:21: overload.memory: \"5%\" is out of range; expected a share such as 20%, from 10% to 100%\nx.yaml:1:30: overload.lag: \"1ms\" is out of range; expected a duration such as 250ms, 5s or 1m, from 10ms to 1m",
            "limits that shed everything"),
        Row(
            "drain: -1s", "x.yaml:1:8: drain: \"-1s\" is no duration; expected a duration such as 250ms, 5s or 1m, from 0s to 1h",
            "negative"),
        Row(
            "drain: 1.5.2s",
            "x.yaml:1:8: drain: \"1.5.2s\" has the unknown unit \".2s\"; expected a duration such as 250ms, 5s or 1m, from 0s to 1h",
            "two points"),
        Row(
            "limits: { header_bytes: 65536 }",
            "x.yaml:1:25: limits.header_bytes: \"65536\" has no unit; expected a size such as 64KiB, from 1KiB to 1MiB",
            "a size without unit"),
        Row(
            "limits: { header_bytes: 64kb }",
            "x.yaml:1:25: limits.header_bytes: \"64kb\" has the unknown unit \"kb\"; expected a size such as 64KiB, from 1KiB to 1MiB",
            "a unit in lower case"),
        Row(
            "limits: { header_bytes: 1.0001KiB }",
            "x.yaml:1:25: limits.header_bytes: \"1.0001KiB\" is no whole number of bytes; expected a size such as 64KiB, from 1KiB to 1MiB",
            "a part of a byte"),
        Row(
            "limits: { body_minimum_rate: 500 }",
            "x.yaml:1:30: limits.body_minimum_rate: \"500\" does not end in /second; expected a size a second such as 500B/second, from 0B/second to 1GiB/second",
            "a rate of bytes"),
        Row(
            "limits: { http2_glitches_forgiven: 90/minute }",
            "x.yaml:1:36: limits.http2_glitches_forgiven: is no whole number a second; expected a rate such as 20/second",
            "a rate that is no whole number"
        ),
        Row(
            "limits: { http2_glitches_forgiven: 20 }",
            "x.yaml:1:36: limits.http2_glitches_forgiven: \"20\" has no period; expected a rate such as 3/second or 5/minute, from 0/second to 10000/second",
            "a rate without period"),
        Row(
            "limits: { http2_glitches_forgiven: 20/day }",
            "x.yaml:1:36: limits.http2_glitches_forgiven: \"20/day\" has the unknown period \"day\"; expected a rate such as 3/second or 5/minute, from 0/second to 10000/second",
            "an unknown period"),
        Row(
            "access_log: { sampling: 0.2 }",
            "x.yaml:1:25: access_log.sampling: \"0.2\" has no % sign; did you mean 20%?; expected a share such as 20%, from 0% to 100%",
            "a fraction for a share"),
        Row(
            "access_log: { sampling: 101% }",
            "x.yaml:1:25: access_log.sampling: \"101%\" is out of range; expected a share such as 20%, from 0% to 100%",
            "more than all"),
        Row(
            "access_log: { format: jsno }",
            "x.yaml:1:23: access_log.format: \"jsno\" is not known; did you mean json?; expected one of json, text",
            "a word with a neighbour"),
        Row(
            "access_log: on", "x.yaml:1:13: access_log: is a single value; expected a mapping with format, path, sampling",
            "a word for a mapping"),
        Row(
            "request_id: { answer: yes }",
            "x.yaml:1:23: request_id.answer: \"yes\" is no truth value; did you mean true?; expected true or false",
            "YAML 1.1's truth"),
        Row(
            "request_id: { header: x-trace }", "x.yaml:1:15: request_id: unknown key \"header\"; known are keep, answer",
            "the field has one name"),
        Row(
            "trusted_networks: 10.0.0.0/8", "x.yaml:1:19: trusted_networks: is a single value; expected a list, as in [a, b]",
            "a word for a list"),
        Row(
            "trusted_networks: [10.0.0.1/8]",
            "x.yaml:1:20: trusted_networks[0]: \"10.0.0.1/8\" is no network: its prefix is too long, or bits are set behind it; expected a network such as 10.0.0.0/8 or fd00::/8, or one address",
            "bits behind the prefix"),
        Row(
            "admin: localhost",
            "x.yaml:1:8: admin: \"localhost\" has no port; expected an address to listen on, such as 0.0.0.0:8443, [::]:8443 or unix:/run/holdfast.sock",
            "no port"),
        Row(
            "admin: :9901",
            "x.yaml:1:8: admin: \":9901\" has no IP address; did you mean 0.0.0.0:9901?; expected an address to listen on, such as 0.0.0.0:8443, [::]:8443 or unix:/run/holdfast.sock",
            "no host"),
        Row(
            "admin: 127.0.0.1:99999",
            "x.yaml:1:8: admin: \"127.0.0.1:99999\" has no port from 0 to 65535; expected an address to listen on, such as 0.0.0.0:8443, [::]:8443 or unix:/run/holdfast.sock",
            "a port beyond 16 bits"),
        Row(
            "server_name: \"a b\"", "x.yaml:1:14: server_name: \"a b\" is no token; expected a token of up to 64 characters",
            "a pseudonym with a space"),
        Row(
            "seed: -1", "x.yaml:1:7: seed: \"-1\" is no such integer; expected an integer from 0 to 18446744073709551615",
            "a negative seed"),
    ])
    func aboutTheTop(row: Row) {
        #expect(complaints(minimal(top: row.text)) == row.said)
    }

    @Test(arguments: [
        Row(
            "tls: { certificates: [] }",
            "x.yaml:3:62: listeners[0].tls.certificates: is an empty list; expected at least one entry", "no certificate"),
        Row(
            "tls: { protocols: [h3] }",
            "x.yaml:3:46: listeners[0].tls: the key certificates is missing\nx.yaml:3:60: listeners[0].tls.protocols[0]: \"h3\" is not known; did you mean h2?; expected one of h2, http/1.1",
            "two complaints, by place"),
        Row(
            "tls: { certificates: [{ chain: a, key: b }], min_version: 1.3, max_version: 1.2 }",
            "x.yaml:3:99: listeners[0].tls: min_version 1.3 is above max_version 1.2", "versions that exclude each other"),
        Row(
            "tls: { certificates: [{ chain: a, key: b }], min_version: 1.1 }",
            "x.yaml:3:99: listeners[0].tls.min_version: \"1.1\" is not known; did you mean 1.2?; expected one of 1.2, 1.3",
            "a version that nobody should speak"),
        Row(
            "tls: { certificates: [{ chain: a, key: { file: b, env: C } }] }",
            "x.yaml:3:80: listeners[0].tls.certificates[0].key: expected exactly one of file, env; found file and env",
            "a secret in two places"),
        Row(
            "tls: { certificates: [{ chain: a, key: {} }] }",
            "x.yaml:3:80: listeners[0].tls.certificates[0].key: expected exactly one of file, env; none of them is there",
            "a secret nowhere"),
        Row(
            "tls: { certificates: [{ chain: a, key: b }], ciphers: [\"A:B\"] }",
            "x.yaml:3:96: listeners[0].tls.ciphers[0]: \"A:B\" is no name; expected one name such as X25519 or ECDHE-RSA-AES128-GCM-SHA256",
            "OpenSSL's list syntax"),
        Row(
            "limits: { connection: 5 }", "x.yaml:3:51: listeners[0].limits: unknown key \"connection\"; did you mean connections?",
            "a key one level down"),
    ])
    func aboutAListener(row: Row) {
        #expect(complaints(minimal(listener: row.text)) == row.said)
    }

    @Test(arguments: [
        Row(
            "{}", "x.yaml:5:6: upstreams.a: expected exactly one of endpoints, dns; none of them is there",
            "no source of endpoints"),
        Row("{ dns: users.internal }", "x.yaml:5:13: upstreams.a.dns: \"users.internal\" has no port; \(short)", "no port"),
        Row(
            "{ dns: \"users.internal:0\" }",
            "x.yaml:5:13: upstreams.a.dns: \"users.internal:0\" has no port from 1 to 65535; \(short)", "port 0"),
        Row(
            "{ dns: \"users.internal:65536\" }",
            "x.yaml:5:13: upstreams.a.dns: \"users.internal:65536\" has no port from 1 to 65535; \(short)", "a port too high"),
        Row("{ dns: \"us ers:1\" }", "x.yaml:5:13: upstreams.a.dns: \"us ers:1\" is no host name; \(short)", "no host name"),
        Row(
            "{ dns: \"10.0.0.1:9001\" }",
            "x.yaml:5:13: upstreams.a.dns: \"10.0.0.1:9001\" is an IP address; list it in endpoints; \(short)", "an address"),
        Row(
            "{ dns: \"[::1]:9001\" }", "x.yaml:5:13: upstreams.a.dns: \"[::1]:9001\" is no host name with a port; \(short)",
            "an IPv6 address"),
        Row("{ dns: { port: 9001 } }", "x.yaml:5:13: upstreams.a.dns: the key name is missing", "no name"),
        Row(
            "{ dns: { name: u.internal } }",
            "x.yaml:5:13: upstreams.a.dns: the key port is missing; only SRV records bring a port", "no port, in full"),
        Row(
            "{ dns: { name: u.internal, port: 9001, record: srv } }",
            "x.yaml:5:39: upstreams.a.dns: the records of record srv bring their ports", "two sources of ports"),
        Row(
            "{ dns: { name: u.internal, port: 1, minimum_ttl: 2m, maximum_ttl: 1m } }",
            "x.yaml:5:72: upstreams.a.dns: maximum_ttl 1m is below minimum_ttl 2m", "bounds that cross"),
        Row(
            "{ dns: { name: u.internal, port: 1, servers: [ns.internal, \"10.0.0.1:0\", unix:/ns, \"::1\"] } }",
            "x.yaml:5:52: upstreams.a.dns.servers[0]: \"ns.internal\" has no port; \(server)\nx.yaml:5:65: upstreams.a.dns.servers[1]: \"10.0.0.1:0\" has port 0; \(server)\nx.yaml:5:79: upstreams.a.dns.servers[2]: \"unix:/ns\" is a Unix socket; \(server)",
            "servers that are none"),
        Row(
            "{ dns: { name: u.internal, port: 1, ttl: 5s } }",
            "x.yaml:5:42: upstreams.a.dns: unknown key \"ttl\"; known are name, port, record, servers, minimum_ttl, maximum_ttl, timeout, attempts",
            "a key that there is not"),
        Row(
            "{ dns: { name: _u._tcp.internal, record: srv }, tls: {} }",
            "x.yaml:5:59: upstreams.a: the key tls.server_name is missing: what a certificate must say may not come from SRV records, which anybody on the way can forge",
            "a certificate of anybody"),
        Row("{ dns: { name: _u._tcp.internal, record: srv }, tls: { server_name: u.internal } }", "", "with its name"),
        Row("{ dns: { name: _u._tcp.internal, record: srv }, tls: { verify: false } }", "", "without verification"),
        Row("{ dns: users.internal.:9001, tls: {} }", "", "a name that says it is whole"),
    ])
    func aboutDNS(row: Row) {
        #expect(complaints(minimal().replacing("{ endpoints: [\"127.0.0.1:9001\"] }", with: row.text)) == row.said)
    }

    private static let short = "expected a host name and a port, such as users.internal:9001"
    private static let server =
        "expected an IP address, perhaps with a port, such as 10.0.0.2, 127.0.0.1:5353 or [fd00::1]:53"

    @Test(arguments: [
        Row(
            "dns: \"users.internal:9001\"",
            "x.yaml:5:6: upstreams.a: expected exactly one of endpoints, dns; found endpoints and dns", "two sources of endpoints"),
        Row(
            "protocol: http2",
            "x.yaml:5:49: upstreams.a.protocol: \"http2\" is not known; did you mean http1?; expected one of http1, h2, auto",
            "a protocol"),
        Row(
            "guard: { timeouts: { per_tri: 1s } }",
            "x.yaml:5:60: upstreams.a.guard.timeouts: unknown key \"per_tri\"; did you mean per_try?", "a key deep down"),
        Row(
            "guard: { breaker: { window: { kind: time, calls: 5 } } }",
            "x.yaml:5:88: upstreams.a.guard.breaker.window: a window of kind time has no calls", "a key that its kind does not have"
        ),
        Row(
            "guard: { breaker: { window: 10 } }",
            "x.yaml:5:67: upstreams.a.guard.breaker.window: \"10\" has no unit; expected a duration such as 250ms, 5s or 1m, from 100ms to 1h",
            "a bare window"),
        Row(
            "guard: { hedging: { quantile: 100%, minimum_delay: 0ms } }",
            "x.yaml:5:69: upstreams.a.guard.hedging.quantile: \"100%\" is out of range; expected a share such as 20%, from 50% to 99.99%\nx.yaml:5:90: upstreams.a.guard.hedging.minimum_delay: \"0ms\" is out of range; expected a duration such as 250ms, 5s or 1m, from 1ms to 1m",
            "a hedge of every request"),
        Row(
            "guard: { throttle: { multiplier: 0.5, maximum: 0% } }",
            "x.yaml:5:72: upstreams.a.guard.throttle.multiplier: \"0.5\" is out of range; expected a number such as 13.8, from 1 to 100\nx.yaml:5:86: upstreams.a.guard.throttle.maximum: \"0%\" is out of range; expected a share such as 20%, from 0.01% to 100%",
            "a throttle that lets less through than is accepted"),
        Row(
            "guard: { breaker: { failure_rate: 0% } }",
            "x.yaml:5:73: upstreams.a.guard.breaker.failure_rate: \"0%\" is out of range; expected a share such as 20%, from 0.01% to 100%",
            "a threshold of nothing"),
        Row(
            "guard: { retries: { retry_on: [conect, 200] } }",
            "x.yaml:5:70: upstreams.a.guard.retries.retry_on[0]: \"conect\" is no reason; did you mean connect?; expected a reason such as connect or reset.before_headers, or a status from 400 to 599\nx.yaml:5:78: upstreams.a.guard.retries.retry_on[1]: \"200\" is no failure; expected a reason such as connect or reset.before_headers, or a status from 400 to 599",
            "reasons and statuses"),
        Row(
            "guard: { breaker: { cusum: { threshold: 0.5 } } }",
            "x.yaml:5:79: upstreams.a.guard.breaker.cusum.threshold: \"0.5\" is out of range; expected a number such as 13.8, from 1 to 100",
            "evidence of nothing"),
        Row(
            "guard: { breaker: { cusum: { threshold: 13.8s } } }",
            "x.yaml:5:79: upstreams.a.guard.breaker.cusum.threshold: \"13.8s\" is no number; expected a number such as 13.8, from 1 to 100",
            "a number with a unit"),
        Row(
            "guard: { breaker: { cusum: { threshold: 13.8001 } } }",
            "x.yaml:5:79: upstreams.a.guard.breaker.cusum.threshold: \"13.8001\" is finer than 0.001; expected a number such as 13.8, from 1 to 100",
            "a number that is too fine"),
        Row(
            "guard: { breaker: { cusum: { bad: 2% } } }",
            "x.yaml:5:73: upstreams.a.guard.breaker.cusum: bad 2% ≤ baseline 2%", "bad that is no worse than ordinary"),
        Row(
            "guard: { bulkhead: { concurrent: 10, shares: { high: 6, bulk: 5 } } }",
            "x.yaml:5:84: upstreams.a.guard.bulkhead: shares of 11 in all > concurrent 10", "more promised than there is"),
        Row(
            "guard: { bulkhead: { adaptive: { rule: vegas } } }",
            "x.yaml:5:78: upstreams.a.guard.bulkhead.adaptive.rule: \"vegas\" is not known; expected one of aimd, gradient2",
            "a rule that there is not"),
        Row(
            "guard: { bulkhead: { adaptive: { minimum: 30, maximum: 20 } } }",
            "x.yaml:5:81: upstreams.a.guard.bulkhead.adaptive: minimum 30 > maximum 20", "bounds the wrong way round"),
        Row(
            "keepalive: { idle: 1500ms }",
            "x.yaml:5:58: upstreams.a.keepalive.idle: \"1500ms\" is not in whole seconds; expected a duration such as 250ms, 5s or 1m, whole seconds, from 1s to 2h",
            "the kernel takes seconds"),
        Row(
            "tls: { server_name: \"a b\" }",
            "x.yaml:5:59: upstreams.a.tls.server_name: \"a b\" is no host name; expected a host name such as users.internal",
            "no host name"),
        Row(
            "balance: fastest",
            "x.yaml:5:48: upstreams.a.balance: \"fastest\" is not known; expected one of round_robin, least_request, peak_ewma, hash",
            "a policy that there is not"),
        Row(
            "hash_key: path", "x.yaml:5:49: upstreams.a: hash_key needs balance: hash", "a key that nothing goes by"),
        Row(
            "balance: hash, hash_key: \"header:a b\"",
            "x.yaml:5:64: upstreams.a.hash_key: \"header:a b\" is no key; expected client_address, path, header:NAME or cookie:NAME",
            "no field name"),
        Row(
            "slow_start: 10",
            "x.yaml:5:51: upstreams.a.slow_start: \"10\" has no unit; expected a duration such as 250ms, 5s or 1m, from 100ms to 1h",
            "a bare window without unit"),
        Row(
            "slow_start: { aggression: 0, floor: 0% }",
            "x.yaml:5:65: upstreams.a.slow_start.aggression: \"0\" is out of range; expected a number from 0.1 to 10\nx.yaml:5:75: upstreams.a.slow_start.floor: \"0%\" is out of range; expected a share such as 20%, from 0.01% to 100%",
            "a curve that never begins"),
        Row(
            "outlier_detection: { latency_factor: 1e3, minimum_hosts: 1, max_ejected: 101% }",
            "x.yaml:5:76: upstreams.a.outlier_detection.latency_factor: \"1e3\" is no number; expected a number from 1.1 to 1000\nx.yaml:5:96: upstreams.a.outlier_detection.minimum_hosts: \"1\" is out of range; expected an integer from 2 to 1000\nx.yaml:5:112: upstreams.a.outlier_detection.max_ejected: \"101%\" is out of range; expected a share such as 20%, from 0% to 100%",
            "bounds of the detectors"),
        Row(
            "health_check: { type: tcp }",
            "x.yaml:5:55: upstreams.a.health_check: unknown key \"type\"; known are kind, path, statuses, host, interval, timeout, unhealthy_after, healthy_after, jitter",
            "a key of a check that there is not"),
        Row(
            "health_check: { kind: grpc }",
            "x.yaml:5:61: upstreams.a.health_check.kind: \"grpc\" is not known; expected one of http, tcp",
            "a kind of check"),
        Row(
            "health_check: /healthz",
            "x.yaml:5:53: upstreams.a.health_check: is a single value; expected a mapping with kind, path, statuses, host, interval, timeout, …",
            "a path alone"),
        Row(
            "health_check: { path: healthz }",
            "x.yaml:5:61: upstreams.a.health_check.path: \"healthz\" is no path; expected a path such as /healthz, percent-encoded and without a fragment",
            "a path without its slash"),
        Row(
            "health_check: { path: \"/a b\" }",
            "x.yaml:5:61: upstreams.a.health_check.path: \"/a b\" is no path; expected a path such as /healthz, percent-encoded and without a fragment",
            "a space would end the request line"),
        Row(
            "health_check: { path: \"/a#b\" }",
            "x.yaml:5:61: upstreams.a.health_check.path: \"/a#b\" is no path; expected a path such as /healthz, percent-encoded and without a fragment",
            "a fragment is not sent"),
        Row(
            "health_check: { statuses: [204, 99, 300-200, 2xx, 200-600, 100-199] }",
            "x.yaml:5:71: upstreams.a.health_check.statuses[1]: \"99\" is no status; expected a status from 200 to 599, or a range such as 200-399\nx.yaml:5:75: upstreams.a.health_check.statuses[2]: \"300-200\" ends before it begins; expected a status from 200 to 599, or a range such as 200-399\nx.yaml:5:84: upstreams.a.health_check.statuses[3]: \"2xx\" is no status; expected a status from 200 to 599, or a range such as 200-399\nx.yaml:5:89: upstreams.a.health_check.statuses[4]: \"200-600\" is out of range; expected a status from 200 to 599, or a range such as 200-399\nx.yaml:5:98: upstreams.a.health_check.statuses[5]: \"100-199\" is out of range; expected a status from 200 to 599, or a range such as 200-399",
            "statuses that are none"),
        Row(
            "health_check: { statuses: [] }",
            "x.yaml:5:65: upstreams.a.health_check.statuses: is an empty list; expected at least one entry",
            "no status could pass"),
        Row(
            "health_check: { host: \"a b\" }",
            "x.yaml:5:61: upstreams.a.health_check.host: \"a b\" is no host name; expected a host name such as users.internal, perhaps with a port",
            "no host name: a b"),
        Row(
            "health_check: { host: \"users:\" }",
            "x.yaml:5:61: upstreams.a.health_check.host: \"users:\" is no host name; expected a host name such as users.internal, perhaps with a port",
            "no host name: users:"),
        Row(
            "health_check: { host: \"users:65536\" }",
            "x.yaml:5:61: upstreams.a.health_check.host: \"users:65536\" is no host name; expected a host name such as users.internal, perhaps with a port",
            "no host name: users:65536"),
        Row(
            "health_check: { host: \"[::1\" }",
            "x.yaml:5:61: upstreams.a.health_check.host: \"[::1\" is no host name; expected a host name such as users.internal, perhaps with a port",
            "no host name: [::1"),
        Row(
            "health_check: { host: \"[10.0.0.1]:80\" }",
            "x.yaml:5:61: upstreams.a.health_check.host: \"[10.0.0.1]:80\" is no host name; expected a host name such as users.internal, perhaps with a port",
            "no host name: [10.0.0.1]:80"),
        Row(
            "health_check: { host: \"::1\" }",
            "x.yaml:5:61: upstreams.a.health_check.host: \"::1\" is no host name; expected a host name such as users.internal, perhaps with a port",
            "no host name: ::1"),
        Row(
            "health_check: { interval: 50ms, timeout: 61s, unhealthy_after: 0, healthy_after: 101, jitter: 51% }",
            "x.yaml:5:65: upstreams.a.health_check.interval: \"50ms\" is out of range; expected a duration such as 250ms, 5s or 1m, from 100ms to 1h\nx.yaml:5:80: upstreams.a.health_check.timeout: \"61s\" is out of range; expected a duration such as 250ms, 5s or 1m, from 10ms to 1m\nx.yaml:5:102: upstreams.a.health_check.unhealthy_after: \"0\" is out of range; expected an integer from 1 to 100\nx.yaml:5:120: upstreams.a.health_check.healthy_after: \"101\" is out of range; expected an integer from 1 to 100\nx.yaml:5:133: upstreams.a.health_check.jitter: \"51%\" is out of range; expected a share such as 20%, from 0% to 50%",
            "the ranges of a check"),
        Row(
            "health_check: { kind: tcp, path: /x, host: a }",
            "x.yaml:5:72: upstreams.a.health_check: a check of kind tcp has no path\nx.yaml:5:82: upstreams.a.health_check: a check of kind tcp has no host",
            "keys that a connection has no use for"),
        Row(
            "health_check: { host: \"[fd00::1]:80\", statuses: 200-299, path: \"/a?b=c%20d\" }",
            "",
            "what a check may say"),
    ])
    func aboutAnUpstream(row: Row) {
        #expect(complaints(minimal(upstream: row.text)) == row.said)
    }

    @Test(arguments: [
        Row(
            "to: b", "x.yaml:7:34: routes[0].to: there is no upstream \"b\"; did you mean \"a\"?",
            "a dangling name with a neighbour"),
        Row("to: elsewhere", "x.yaml:7:34: routes[0].to: there is no upstream \"elsewhere\"; defined are a", "and one without"),
        Row(
            "split: [{ to: a, weight: 1 }, { to: zebra, weight: 1 }]",
            "x.yaml:7:66: routes[0].split[1].to: there is no upstream \"zebra\"; defined are a", "a dangling part"),
        Row(
            "split: [{ to: a, weight: 0 }]", "x.yaml:7:37: routes[0].split: all weights are 0; expected at least one above",
            "a split into nothing"),
        Row(
            "name: r", "x.yaml:7:5: routes[0]: expected exactly one of to, split, redirect, answer; none of them is there",
            "no action"),
        Row(
            "to: a, answer: {}", "x.yaml:7:5: routes[0]: expected exactly one of to, split, redirect, answer; found to and answer",
            "two actions"),
        Row(
            "to: a, filters: [{ header: {} }]",
            "x.yaml:7:47: routes[0].filters[0]: expected exactly one of maintenance, cors, limits, canary, headers, custom, cache, mirror, ip_list, api_key, basic, client_certificate, jwt, forward_auth, transform, aggregate, rate_limit, compress; none of them is there\nx.yaml:7:49: routes[0].filters[0]: unknown key \"header\"; did you mean headers?",
            "a filter that is none"),
        Row(
            "to: a, filters: [{ cors: { origins: [\"*\"], credentials: true } }]",
            "x.yaml:7:86: routes[0].filters[0].cors: with the origin * every page could act as the visitor; name the origins, or leave credentials off",
            "credentials for everybody"),
        Row(
            "to: a, filters: [{ headers: { request: { set: { content-length: 5 } } } }]",
            "x.yaml:7:78: routes[0].filters[0].headers.request.set: the field content-length is the gateway's own; no filter changes it",
            "framing by a filter"),
        Row(
            "to: a, filters: [{ headers: { request: { set: { x-id: \"{claims.sub}\" } } } }]",
            "x.yaml:7:84: routes[0].filters[0].headers.request.set.x-id: \"{claims.sub}\" is no template: {claims.sub} is not known; known are client_ip, consumer, host, method, path, query, request_id, route, scheme, tls.server_name, tls.version, header.NAME, query.NAME, cookie.NAME, param.NAME, claim.PATH; expected a field value, perhaps with variables such as {client_ip} or {header.x-name}",
            "a variable that is none"),
        Row(
            "to: a, filters: [{ headers: { request: { set: { x-id: \"{param.id}\" } } } }]",
            "x.yaml:7:46: routes[0]: {param.id} is no parameter of the match; the match has none", "a parameter that the path lacks"
        ),
        Row(
            "to: a, filters: [{ canary: { to: b, share: 5% } }]",
            "x.yaml:7:63: routes[0].filters[0].canary.to: there is no upstream \"b\"; did you mean \"a\"?", "a canary from nowhere"),
        Row(
            "to: a, filters: [{ limits: {} }]",
            "x.yaml:7:57: routes[0].filters[0].limits: limits nothing; expected body_bytes, header_bytes, uri_bytes or decompressed_bytes",
            "limits that limit nothing"),
        Row(
            "to: a, filters: [{ limits: { body_bytes: 1KiB } }, { limits: { body_bytes: 2KiB } }]",
            "x.yaml:7:46: routes[0].filters: the filter limits stands twice in one list; it works once", "limits twice"),
        Row(
            "to: a, filters: [{ compress: { types: [\"*/*\"] } }]",
            "x.yaml:7:69: routes[0].filters[0].compress.types[0]: \"*/*\" is no content type; expected a content type such as text/css, all of a kind as in text/*, or all that end alike as in *+json",
            "a type that is none"),
        Row(
            "to: a, filters: [{ compress: { codings: [gzip, gzip] } }]",
            "x.yaml:7:70: routes[0].filters[0].compress: a coding stands twice in the list", "a coding twice"),
        Row(
            "to: a, filters: [{ rate_limit: { rate: 100 } }]",
            "x.yaml:7:69: routes[0].filters[0].rate_limit.rate: \"100\" has no period; expected a whole number in a period, such as 100/second, 5/minute, 1000/hour or 10000/day",
            "a rate without a period"),
        Row(
            "to: a, filters: [{ rate_limit: { rate: 5/minute, per: ip } }]",
            "x.yaml:7:84: routes[0].filters[0].rate_limit.per: \"ip\" is not known; expected client_ip, consumer, route, global, { header: NAME } or { claim: PATH }",
            "a key that is none"),
        Row(
            "to: a, filters: [{ rate_limit: { rate: 5/minute } }, { rate_limit: { rate: 9/hour } }]",
            "x.yaml:7:46: routes[0].filters: two rate limits are called \"client_ip\"; give each its own name", "limits of one name"
        ),
        Row(
            "to: a, filters: [{ rate_limit: { rate: 5/minute, algorithm: sliding_window, burst: 9 } }]",
            "x.yaml:7:113: routes[0].filters[0].rate_limit: a sliding_window has no burst", "a window with a burst"),
        Row(
            "to: a, filters: [{ rate_limit: { rate: 5/minute, store: redis } }]",
            "x.yaml:7:86: routes[0].filters[0].rate_limit: there is no redis at the top of the file, which says where it is",
            "a limit in no Redis"),
        Row(
            "to: a, filters: [{ rate_limit: { rate: 5/day, burst: 1000000000 } }]",
            "x.yaml:7:61: routes[0].filters[0].rate_limit: a burst of 1000000000 at this rate is too large to be counted exactly",
            "a limit beyond counting"),
        Row(
            "to: a, filters: [{ transform: {} }]",
            "x.yaml:7:60: routes[0].filters[0].transform: changes nothing; expected method, query, request or response",
            "a transform of nothing"),
        Row(
            "to: a, filters: [{ transform: { method: HEAD } }]",
            "x.yaml:7:70: routes[0].filters[0].transform.method: HEAD cannot be put in a method's place: its answers are of another kind",
            "a method with other answers"),
        Row(
            "to: a, filters: [{ transform: { request: {} } }]",
            "x.yaml:7:71: routes[0].filters[0].transform.request: makes nothing; expected fields, or unknown: keep",
            "a mapping of nothing"),
        Row(
            "to: a, filters: [{ transform: { request: { fields: { \"a[0]\": b } } } }]",
            "x.yaml:7:83: routes[0].filters[0].transform.request: the target a[0]: a target has names only; a list is made with each",
            "a target with a position"),
        Row(
            "to: a, filters: [{ transform: { request: { fields: { a: b, a.b: c } } } }]",
            "x.yaml:7:89: routes[0].filters[0].transform.request: the target a.b: another target is the same, a part of this one, or has this one as a part",
            "a target within another"),
        Row(
            "to: a, filters: [{ transform: { request: { fields: { a: \"b[\" } } } }]",
            "x.yaml:7:86: routes[0].filters[0].transform.request.fields.a: \"b[\" is no path: at character 3 of the path: expected a position from 0, or a name in double quotes; expected a path such as customer.name, items[0].id or [\"odd name\"], or $ for the whole",
            "a source that is no path"),
        Row(
            "to: a, filters: [{ transform: { request: { fields: { \"a..b\": c } } } }]",
            "x.yaml:7:83: routes[0].filters[0].transform.request.fields.a..b: \"a..b\" is no path: at character 3 of the path: expected a name (one with special characters is written [\"so\"])",
            "a target that is no path"),
        Row(
            "to: a, filters: [{ transform: { request: { fields: { a: {} } } } }]",
            "x.yaml:7:86: routes[0].filters[0].transform.request.fields.a: has no source; expected from, each or value",
            "a field from nowhere"),
        Row(
            "to: a, filters: [{ transform: { request: { fields: { a: { from: b, default: 1, required: true } } } } }]",
            "x.yaml:7:119: routes[0].filters[0].transform.request.fields.a: required and default exclude each other",
            "a default of what must be there"),
        Row(
            "to: a, filters: [{ transform: { request: { fields: { a: { value: 1, as: string } } } } }]",
            "x.yaml:7:102: routes[0].filters[0].transform.request.fields.a: as has no meaning beside value",
            "a constant that is converted"),
        Row(
            "to: a, filters: [{ transform: { request: { fields: { a: { from: b, as: text } } } } }]",
            "x.yaml:7:101: routes[0].filters[0].transform.request.fields.a.as: \"text\" is not known; expected one of string, number, integer, boolean",
            "a type that is none"),
        Row(
            "to: a, filters: [{ transform: { request: { fields: { a: { each: b, from: c, fields: { d: e } } } } } }]",
            "x.yaml:7:103: routes[0].filters[0].transform.request.fields.a: with each, expected either from or fields",
            "two sources for elements"),
        Row(
            "to: a, filters: [{ transform: { request: { fields: { a: b }, drop: [c] } } }]",
            "x.yaml:7:97: routes[0].filters[0].transform.request: drop needs unknown: keep; without it all that is unknown is left out",
            "a drop of what is not kept"),
        Row(
            "to: a, filters: [{ transform: { request: { fields: [a, b] } } }]",
            "x.yaml:7:81: routes[0].filters[0].transform.request.fields: is a list; expected a mapping of paths to where their values come from",
            "a list of fields"),
        Row(
            "to: a, filters: [{ transform: { response: { fields: { a: b }, statuses: [99] } } }]",
            "x.yaml:7:103: routes[0].filters[0].transform.response.statuses[0]: \"99\" is no status; expected a status from 200 to 599, or a range such as 200-399",
            "a status that is none"),
        Row(
            "to: a, filters: [{ transform: { request: { fields: { a: b }, statuses: [200] } } }]",
            "x.yaml:7:91: routes[0].filters[0].transform.request: unknown key \"statuses\"; known are fields, unknown, drop, root, on_mismatch, max_bytes",
            "statuses of requests"),
        Row(
            "to: a, filters: [{ transform: { query: { set: { a: \"{param.x}\" } } } }]",
            "x.yaml:7:46: routes[0]: {param.x} is no parameter of the match; the match has none",
            "a parameter of the path that it lacks, in a query"),
        Row(
            "to: a, filters: [{ transform: { request: { fields: { a: { value: [1, { b: 1, b: 2 }] } } } } }]",
            "x.yaml:7:107: the key \"b\" already stands on line 7 of this mapping", "a constant with a key twice"),
        Row(
            "to: a, filters: [{ aggregate: {} }]",
            "x.yaml:7:60: routes[0].filters[0].aggregate: the key parts is missing", "an aggregate of nothing"),
        Row(
            "to: a, filters: [{ aggregate: { parts: {} } }]",
            "x.yaml:7:69: routes[0].filters[0].aggregate: has no part; expected at least one", "no parts"),
        Row(
            "to: a, filters: [{ aggregate: { parts: { u: { to: a } } } }]",
            "x.yaml:7:74: routes[0].filters[0].aggregate.parts.u: the key path is missing", "a part without a path"),
        Row(
            "to: a, filters: [{ aggregate: { parts: { u: { to: b, path: / } } } }]",
            "x.yaml:7:80: routes[0].filters[0].aggregate.parts.u.to: there is no upstream \"b\"; did you mean \"a\"?",
            "a part of nobody"),
        Row(
            "to: a, filters: [{ aggregate: { parts: { u: { to: a, path: users } } } }]",
            "x.yaml:7:89: routes[0].filters[0].aggregate.parts.u.path: \"users\" is no path; expected a path such as /users/{param.id} or /products?ids={part.orders.items[*].product}",
            "a path that begins nowhere"),
        Row(
            "to: a, filters: [{ aggregate: { parts: { u: { to: a, path: \"//x\" } } } }]",
            "x.yaml:7:89: routes[0].filters[0].aggregate.parts.u.path: \"//x\" is no path; expected a path such as /users/{param.id} or /products?ids={part.orders.items[*].product}",
            "a path that is a host"),
        Row(
            "to: a, filters: [{ aggregate: { parts: { u: { to: a, path: \"/{part.v.id}\" }, w: { to: a, path: / } } } }]",
            "x.yaml:7:89: routes[0].filters[0].aggregate: parts.u.path: there is no part \"v\"; did you mean u?",
            "a part that is not there"),
        Row(
            "to: a, filters: [{ aggregate: { parts: { u: { to: a, path: \"/{part.v.id}\" }, v: { to: a, path: /, after: [u] } } } }]",
            "x.yaml:7:69: routes[0].filters[0].aggregate: these parts wait for each other: u, v", "parts that wait for each other"),
        Row(
            "to: a, filters: [{ aggregate: { parts: { u: { to: a, path: \"/{part.u[x]}\" } } } }]",
            "x.yaml:7:89: routes[0].filters[0].aggregate.parts.u.path: \"/{part.u[x]}\" is no path: {part.u…} has a path that is none: at character 2 of the path: expected a position from 0, or a name in double quotes; expected a path such as /users/{param.id} or /products?ids={part.orders.items[*].product}",
            "a path in a part that is none"),
        Row(
            "to: a, filters: [{ aggregate: { parts: { complete: { to: a, path: / } } } }]",
            "x.yaml:7:81: routes[0].filters[0].aggregate: parts.complete: the member \"complete\" is complete's already; give it another with as",
            "a part that is called complete"),
        Row(
            "to: a, filters: [{ aggregate: { parts: { u: { to: a, path: /, required: true, default: 1 } } } }]",
            "x.yaml:7:102: routes[0].filters[0].aggregate.parts.u: required and default exclude each other",
            "a default of a part that must be there"),
        Row(
            "to: a, filters: [{ aggregate: { parts: { u: { to: a, path: /, join: { into: v, on: x, as: y } } } } }]",
            "x.yaml:7:98: routes[0].filters[0].aggregate: parts.u.join: there is no part \"v\"; did you mean u?",
            "a join into nothing"),
        Row(
            "to: a, filters: [{ aggregate: { parts: { u: { to: a, path: /, headers: { host: x } } } } }]",
            "x.yaml:7:101: routes[0].filters[0].aggregate.parts.u.headers: host is the gateway's own to write",
            "a field that is the gateway's"),
        Row(
            "to: a, filters: [{ aggregate: { parts: { u: { to: a, path: /, merge: flatten, as: x } } } }]",
            "x.yaml:7:112: routes[0].filters[0].aggregate.parts.u: as has no meaning with merge: flatten",
            "a name for what has none"),
        Row(
            "to: a, filters: [{ cache: { methods: [HEAD] } }]",
            "x.yaml:7:67: routes[0].filters[0].cache: GET is missing; what is stored is always the answer to a GET",
            "a cache of nothing"),
        Row(
            "to: a, filters: [{ cache: { ignore_query: [\"*\"] } }]",
            "x.yaml:7:73: routes[0].filters[0].cache.ignore_query[0]: \"*\" would ignore every parameter; expected the name of a query parameter as it stands in the query, or its beginning and *",
            "a cache that ignores the query"),
        Row(
            "to: a, strip_prefix: /users", "x.yaml:7:51: routes[0]: the match has /*, which does not begin with /users",
            "a prefix that is not there"),
        Row(
            "to: a, priority: low",
            "x.yaml:7:47: routes[0].priority: \"low\" is not known; expected one of critical, high, normal, bulk", "a priority"),
        Row(
            "to: a, strip_prefix: /, rewrite: /x",
            "x.yaml:7:51: routes[0].strip_prefix: \"/\" is no literal path; expected a literal path such as /api", "a slash alone"),
        Row(
            "to: a, rewrite: \"/{id}\"", "x.yaml:7:46: routes[0]: {id} is no parameter of the match; it has none",
            "a parameter that is not there"),
        Row(
            "redirect: { to: \"https://{hots}{path}\" }",
            "x.yaml:7:46: routes[0]: {hots} is no parameter of the match; did you mean {host}?", "a place that is not there"),
        Row(
            "redirect: { to: /x, status: 200 }",
            "x.yaml:7:58: routes[0].redirect.status: \"200\" is no such status; expected one of 301, 302, 303, 307, 308",
            "a status that leads nowhere"),
        Row(
            "redirect: { to: x }, rewrite: /y",
            "x.yaml:7:46: routes[0].redirect.to: \"x\" is no URL or path; expected a URL or a path such as https://{host}{path}{query}",
            "no URL"),
        Row(
            "answer: { body: hi }, rewrite: /y", "x.yaml:7:61: routes[0]: rewrite has a meaning only with to or split",
            "a rewrite of nothing"),
        Row(
            "answer: { headers: { Content-Length: 5 } }",
            "x.yaml:7:51: routes[0].answer.headers: the field content-length is set by the gateway itself", "framing is ours"),
        Row(
            "answer: { headers: { x-a: \"b\\r\\nc\" } }",
            "x.yaml:7:56: routes[0].answer.headers.x-a: \"b\\u{d}\\u{a}c\" is no field value; expected a field value without control characters or spaces around it",
            "a split response"),
        Row(
            "answer: { headers: { \"x y\": 1 } }",
            "x.yaml:7:51: routes[0].answer.headers: \"x y\" is no field name; expected a field name of letters, digits and '-'",
            "a field name with a space"),
        Row(
            "answer: { headers: { x-a: 1, X-A: 2 } }",
            "x.yaml:7:59: routes[0].answer.headers: the name \"x-a\" already stands on line 7", "case makes no other field"),
        Row(
            "to: a, timeouts: { total: 0s }",
            "x.yaml:7:56: routes[0].timeouts.total: \"0s\" is out of range; expected a duration such as 250ms, 5s or 1m, from 1ms to 1h",
            "no time at all"),
        Row(
            "to: a, retries: { attempts: 0 }",
            "x.yaml:7:58: routes[0].retries.attempts: \"0\" is out of range; expected an integer from 1 to 5", "no attempt at all"),
    ])
    func aboutARoute(row: Row) {
        #expect(complaints(minimal(route: row.text)) == row.said)
    }

    @Test func allAtOnceInTheOrderOfTheFile() {
        let text = """
            drian: 5s
            threads: 0
            listeners:
              - { name: l, address: 127.0.0.1:8080 }
              - { name: l, address: 127.0.0.1:8080 }
            upstreams:
              users: { endpoints: [10.0.0.1, users.internal:80, "10.0.0.1:0", "10.0.0.1:80", "10.0.0.1:80"] }
              "or ders": { endpoints: [] }
            routes:
              - { match: { path: users }, to: user }
              - { match: { methods: [get, TRACE], host: ["a:80", "*.b"] }, to: users }
              - { to: users }
            """
        let endpoint = "expected an address such as 10.0.0.1:9001, [fd00::1]:9001 or unix:/run/users.sock"
        #expect(
            complaints(text) == """
                x.yaml:1:1: unknown key "drian"; did you mean drain?
                x.yaml:2:10: threads: "0" is out of range; expected an integer from 1 to 1024
                x.yaml:5:13: listeners[1].name: the same listener name stands on line 4 already
                x.yaml:5:25: listeners[1].address: the same listener address stands on line 4 already
                x.yaml:7:24: upstreams.users.endpoints[0]: "10.0.0.1" has no port; \(endpoint)
                x.yaml:7:34: upstreams.users.endpoints[1]: "users.internal:80" has a host name where an IP address is needed; a name goes into dns, in place of endpoints; \(endpoint)
                x.yaml:7:53: upstreams.users.endpoints[2]: "10.0.0.1:0" has port 0; \(endpoint)
                x.yaml:8:3: upstreams: "or ders" is no name; expected up to 63 letters, digits, '-', '_' and '.', beginning with a letter or a digit
                x.yaml:10:22: routes[0].match.path: "users" is no path: a path begins with /; expected a path such as /exact, /prefix/* or /users/{id}
                x.yaml:10:35: routes[0].to: there is no upstream "user"; did you mean "users"?
                x.yaml:11:26: routes[1].match.methods[0]: "get" is in lower case; did you mean GET?; expected a method such as GET
                x.yaml:11:31: routes[1].match.methods[1]: "TRACE" is refused by the gateway; expected a method such as GET
                x.yaml:11:46: routes[1].match.host[0]: "a:80" has a port; expected a host such as api.example.com or "*.example.com", without a port
                x.yaml:12:5: routes[2]: the key match is missing
                """)
    }

    @Test func whatMustBeUnique() {
        let text = """
            listeners: [{ name: l, address: "[::1]:80" }, { name: m, address: "[0:0::1]:80" }]
            upstreams: { a: { endpoints: ["10.0.0.1:80", { address: "10.0.0.1:80" }] } }
            routes:
              - { name: r, match: { path: /x, host: A.example }, to: a }
              - { name: r, match: { path: /x, host: a.example }, to: a }
            """
        #expect(
            complaints(text) == """
                x.yaml:1:67: listeners[1].address: the same listener address stands on line 1 already
                x.yaml:2:46: upstreams.a.endpoints[1]: the endpoint 10.0.0.1:80 stands there twice; use weight
                x.yaml:5:13: routes[1].name: the same route name stands on line 4 already
                """)
        #expect(
            complaints(minimal(route: "to: a }\n  - { match: { path: \"/*\" }, answer: {}"))
                == "x.yaml:8:14: routes[1]: the same match stands on line 7 already")
    }

    /// Port 0 asks for any port: two such listeners do not meet.
    @Test func anyPortIsNoCollision() throws {
        #expect(
            complaints(
                minimal(listener: "http2: {} }\n  - { name: m, address: \"127.0.0.1:0\" }\n  - { name: n, address: \"127.0.0.1:0\"")
            ) == "")
    }

    @Test(arguments: [
        Row("", "x.yaml:1:1: \(YAMLComposer.emptyMessage)", "nothing"),
        Row("# only a comment\n", "x.yaml:1:1: \(YAMLComposer.emptyMessage)", "a comment"),
        Row("---\n", "x.yaml:1:1: \(YAMLComposer.emptyMessage)", "an empty document"),
        Row("null", "x.yaml:1:1: \(YAMLComposer.emptyMessage)", "YAML's nothing"),
        Row("{}", "x.yaml:1:1: the key listeners is missing\nx.yaml:1:1: the key routes is missing", "an empty mapping"),
        Row(
            "hello",
            "x.yaml:1:1: is a single value; expected a mapping with threads, server_name, seed, trusted_networks, request_id, admin, …",
            "a word"),
        Row(
            "[]",
            "x.yaml:1:1: is a list; expected a mapping with threads, server_name, seed, trusted_networks, request_id, admin, …",
            "a list"),
        Row(
            "listeners: []\nroutes: []",
            "x.yaml:1:12: listeners: is an empty list; expected at least one entry\nx.yaml:2:9: routes: is an empty list; expected at least one entry",
            "empty lists"),
    ])
    func aboutHardlyAnything(row: Row) {
        #expect(complaints(row.text) == row.said)
    }
}
