// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// What the demo prints once it is up. Every line that begins with a command works as it stands.
enum DemoIntroduction {
    static func text(ports: DemoPorts, folder: String) -> String {
        let site = "https://localhost:\(ports.tls)"
        let curl = "curl --cacert \(quoted(folder + "/ca.pem"))"
        let quiet = "\(curl) -s -o /dev/null -w '%{http_code} '"
        let admin = "http://127.0.0.1:\(ports.admin)"
        let notices = ports.notices.map { "  note: \($0)\n" }.joined()
        return """

            Holdfast is up: users, orders and products, behind TLS of a certificate authority of its own.
            \(notices)
              \(site)     HTTP/2 and HTTP/1.1 over TLS
              http://localhost:\(ports.clear)      HTTP/1.1 in clear
              \(admin)      /metrics, /healthz, /readyz
              \(folder)     ca.pem, holdfast.yaml (what runs), access.log

            Ask for something; the last one is a redirect
              \(curl) \(site)/users
              \(curl) \(site)/orders/1 -i
              \(curl) \(site)/orders --http1.1 -i -d '{"user":1,"product":2}'
              \(curl) \(site)/people/2 -iL

            One document of three services; and an order for an old service that has other names for everything, there and back
              \(curl) \(site)/dashboard/1
              \(curl) \(site)/shop/orders -H 'content-type: application/json' -d '{"customer":{"id":1,"name":"Ada"},"items":[{"product":2,"quantity":3}]}'

            Retries: every third answer of this one is a 503. Few fail, and the client sees none; many, and the budget ends it
              for i in $(seq 6); do \(quiet) \(site)/users/shaky; done; echo
              for i in $(seq 30); do \(quiet) \(site)/users/shaky; done; echo

            Timeouts: 1 s a try, and the answer says which limit it was
              \(curl) '\(site)/users/slow?ms=300' -i
              \(curl) '\(site)/users/slow?ms=2500' -i

            The breaker: three of four answers are errors, so it opens, and nothing is sent on: 503, breaker.open, Retry-After
              for i in $(seq 24); do \(quiet) \(site)/orders/flaky; done; echo
              \(curl) \(site)/orders -i
              curl -s \(admin)/metrics | grep -E '^holdfast_breaker_(state|openings)'

            The other services never noticed; and after its pause this one is asked again, and the breaker closes
              \(curl) \(site)/products/2 -i
              sleep 7; \(curl) \(site)/orders -i

            What was logged
              tail -n 3 \(quoted(folder + "/access.log"))

            Ctrl-C drains and ends it.

            """
    }

    /// As a shell needs it.
    static func quoted(_ path: String) -> String {
        let isPlain = path.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"),
                UInt8(ascii: "/"), UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"):
                true
            default: false
            }
        }
        return isPlain ? path : "'" + path.split(separator: "'", omittingEmptySubsequences: false).joined(separator: #"'\''"#) + "'"
    }
}
