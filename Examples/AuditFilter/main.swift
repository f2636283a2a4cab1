// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Configuration
import Gateway
import Glibc

// A program of its own around the gateway, with a filter that the gateway does not have: requests that would change something are let through on
// weekdays only, and every request tells its service that it was looked at.
//
//     swift run AuditFilter Examples/AuditFilter/gateway.yaml
//     curl -i http://127.0.0.1:8080/ -X DELETE

struct Audit: CustomFilter {
    let level: String

    func request(_ request: inout CustomRequest) async throws -> CustomDecision {
        if request.headers["x-change-freeze"] == "on", request.method != "GET", request.method != "HEAD" {
            return .answer(status: 423, headers: [("content-type", "text/plain")], body: Array("nothing is changed now\n".utf8))
        }
        request.headers.set("x-audited", "\(level) \(request.clientAddress)")
        return .next
    }

    func response(_ response: inout CustomResponse) {
        response.headers.set("x-audit", level)
    }
}

struct UnknownLevel: Error, CustomStringConvertible {
    let level: String
    var description: String { "level is \(level); expected full or brief" }
}

let filters = CustomFilters([
    "audit": { settings in
        let level = settings["level"] ?? "full"
        guard level == "full" || level == "brief" else { throw UnknownLevel(level: level) }
        return Audit(level: level)
    }
])

guard CommandLine.arguments.count == 2 else {
    print("usage: AuditFilter CONFIGURATION")
    exit(2)
}
do {
    let configuration = try Configuration.load(path: CommandLine.arguments[1]).configuration
    let server = try GatewayServer(configuration: configuration, log: .standardError(), filters: filters)
    try server.start()
    for (name, address) in server.addresses { print("\(name) listens on \(address)") }
    fflush(nil)
    // Until somebody ends it: serving is the reactors' business.
    while true { sleep(3_600) }
} catch {
    print(error)
    exit(1)
}
