// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Gateway
import HTTP

extension MeasuredBody {
    /// A path made normal and its route found: with ten routes and with ten thousand, over a thousand different paths, so that the
    /// caches see what they would see at an edge.
    static func routing() throws -> [MeasuredBody] {
        try [10, 10_000].map { count in
            let table = try RouteTable(
                (0..<count).map { i in
                    switch i % 3 {
                    case 0: RouteTable.Rule(path: "/service\(i)/v1/*")
                    case 1: RouteTable.Rule(path: "/service\(i)/{id}/orders")
                    default: RouteTable.Rule(host: "host\(i).example", path: "/api/v1/items")
                    }
                })
            let heads = (0..<1_000).map { n -> RequestHead in
                let i = (n * 7919) % count
                switch i % 3 {
                case 0: return head("/service\(i)/v1/accounts/12345", host: "api.example")
                case 1: return head("/service\(i)/12345/orders", host: "api.example")
                default: return head("/api/v1/items", host: "host\(i).example")
                }
            }
            return MeasuredBody("Router: normalise and match, \(count) routes") { times in
                var sum = 0
                for i in 0..<times {
                    let head = heads[i % heads.count]
                    if RequestPath.normalise(head) == .refused { continue }
                    if case .route(let match) = table.match(head) { sum &+= match.route }
                }
                return sum
            }
        }
    }

    private static func head(_ path: String, host: String) -> RequestHead {
        let head = RequestHead()
        head.methodText = head.fields.store("GET")
        head.authority = head.fields.store(Array(host.utf8).span)
        head.path = head.fields.store(Array(path.utf8).span)
        for (name, value) in [
            ("user-agent", "curl/8.5.0"), ("accept", "*/*"), ("accept-encoding", "gzip, br"), ("cookie", "a=b; c=d"),
        ] {
            head.fields.append(name, value)
        }
        return head
    }
}
