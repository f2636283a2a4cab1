// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Resilience
import Testing

@testable import Configuration

/// The configuration of the side-by-side measurements (shared/peers/holdfast.yaml), its places filled in as bench.py does.
@Test func loadsTheConfigurationOfTheMeasurements() throws {
    let text = """
        # One reactor, the whole guard on, access log off, metrics on: the fair peer of haproxy-guarded and envoy-guarded.
        threads: @N@
        access_log: off
        listeners:
          - name: clear
            address: 127.0.0.1:@CLEAR@
          - name: public
            address: 127.0.0.1:@TLS@
            tls: { certificates: [{ chain: "@CERT@", key: "@KEY@" }], protocols: [h2, http/1.1] }
        upstreams:
          backend:
            endpoints: ["127.0.0.1:@BACKEND@"]
            guard:
              timeouts: { connect: 1s, per_try: 2s, total: 5s }
              breaker: { failure_rate: 50%, minimum_calls: 20, open_for: 5s }
              retries: { attempts: 2, budget: { ratio: 20%, minimum: 3/second } }
              bulkhead: { concurrent: 512, queue: 256, queue_timeout: 100ms }
        routes:
          - match: { path: /* }
            to: backend
        """
    let places = [
        "@N@": "1", "@CLEAR@": "18080", "@TLS@": "18443", "@CERT@": "/tmp/cert.pem", "@KEY@": "/tmp/key.pem", "@BACKEND@": "19000",
    ]
    let filled = places.reduce(text) { $0.split(separator: $1.key, omittingEmptySubsequences: false).joined(separator: $1.value) }
    let loaded = try read(filled)
    #expect(loaded.warnings == [])

    var expected = Configuration()
    expected.threads = 1
    expected.accessLog = nil
    var open = Configuration.Listener(name: "public", address: .ip(IPAddress(127, 0, 0, 1), port: 18443))
    open.tls = Configuration.ListenerTLS()
    open.tls?.certificates = [Configuration.Certificate(chain: "/tmp/cert.pem", key: Secret(.file("/tmp/key.pem")))]
    expected.listeners = [Configuration.Listener(name: "clear", address: .ip(IPAddress(127, 0, 0, 1), port: 18080)), open]
    var backend = Configuration.Upstream(name: "backend")
    backend.endpoints = [Configuration.Endpoint(address: .ip(IPAddress(127, 0, 0, 1), port: 19000))]
    backend.guardSettings.timeouts.connect = .seconds(1)
    backend.guardSettings.timeouts.perTry = .seconds(2)
    backend.guardSettings.timeouts.total = .seconds(5)
    backend.guardSettings.retries.budget.minimumPerSecondThousandths = 3_000
    backend.guardSettings.bulkhead.concurrent = 512
    backend.guardSettings.bulkhead.queue = 256
    backend.guardSettings.bulkhead.queueTimeout = .milliseconds(100)
    expected.upstreams = [backend]
    var match = Configuration.Match()
    match.path = Configuration.PathPattern(segments: [], matchesRest: true)
    expected.routes = [Configuration.Route(match: match, action: .upstream("backend"))]
    #expect(loaded.configuration == expected)
}
