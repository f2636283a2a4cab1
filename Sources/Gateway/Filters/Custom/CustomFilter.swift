// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Configuration
import Core
import HTTP
import Reactor

/// A filter of a program that embeds the gateway. It stands in the configuration as `custom: { name: …, settings: { … } }`.
///
///     struct Audit: CustomFilter {
///         func request(_ request: inout CustomRequest) async throws -> CustomDecision {
///             request.headers.set("x-audited", "yes")
///             return .next
///         }
///     }
///     let server = try GatewayServer(configuration: configuration, log: log, filters: ["audit": { _ in Audit() }])
///
/// One value serves all requests of its place in the configuration, on all reactors at once. `request` runs on the request's reactor as far as
/// it does not wait; what waits must not block the thread. An error that it throws is answered with 500 `internal`, and goes to the log.
public protocol CustomFilter: Sendable {
    /// Whether the request goes on. It may change what the upstream gets to see.
    func request(_ request: inout CustomRequest) async throws -> CustomDecision

    /// The head of an answer on its way to the client. Does not wait.
    func response(_ response: inout CustomResponse)
}

extension CustomFilter {
    public func request(_ request: inout CustomRequest) async throws -> CustomDecision { .next }
    public func response(_ response: inout CustomResponse) {}
}

/// What a custom filter says of a request.
public enum CustomDecision: Sendable {
    case next
    /// This answer in place of the upstream's. Status 200 to 599.
    case answer(status: Int, headers: [(name: String, value: String)] = [], body: [UInt8] = [])
}

/// Header fields as a custom filter sees them: in order, names in lower case.
public struct CustomHeaders: Sendable {
    public private(set) var fields: [(name: String, value: String)]
    var isChanged = false

    init(_ fields: [(name: String, value: String)]) { self.fields = fields }

    /// The first value of a name, in any case.
    public subscript(name: String) -> String? {
        let name = name.lowercased()
        return fields.first { $0.name == name }?.value
    }

    /// Writes a field in place of all that have its name; `nil` removes them. Fields by which messages are framed stay the gateway's.
    public mutating func set(_ name: String, _ value: String?) {
        let name = name.lowercased()
        guard !CustomHeaders.framing.contains(name) else { return }
        fields.removeAll { $0.name == name }
        if let value { fields.append((name, value)) }
        isChanged = true
    }

    private static let framing: Set<String> = [
        "connection", "content-length", "transfer-encoding", "keep-alive", "upgrade", "te", "trailer", "host",
    ]
}

/// A request as a custom filter sees it.
public struct CustomRequest: Sendable {
    public let method: String
    public let host: String
    /// Normalised; not what a rewrite makes of it.
    public let path: String
    /// Without `?`; `nil`: none.
    public let query: String?
    /// As trusted peers tell it.
    public let clientAddress: String
    /// Whether the client's own connection is TLS.
    public let isSecure: Bool
    public let requestID: String
    /// Who an authentication filter found it to be.
    public let consumer: String?
    public let route: String
    public var headers: CustomHeaders
}

/// The head of an answer as a custom filter sees it.
public struct CustomResponse: Sendable {
    public let status: Int
    /// Whether the gateway made it.
    public let isLocal: Bool
    public var headers: CustomHeaders
}

/// The filters that a program brings along: by name, how one is made of its settings. What `make` throws is a complaint about the
/// configuration.
public struct CustomFilters: Sendable {
    public typealias Make = @Sendable (_ settings: [String: String]) throws -> any CustomFilter
    private var makers: [String: Make]
    /// Filters of the inner kind under names of `custom`, for tests of the chain.
    var inner: [String: any Filter] = [:]

    public init(_ makers: [String: Make] = [:]) { self.makers = makers }

    func make(_ settings: Configuration.CustomFilter) throws(FilterComplaint) -> any Filter {
        if let filter = inner[settings.name] { return filter }
        guard let maker = makers[settings.name] else {
            let known = makers.keys.sorted().joined(separator: ", ")
            throw FilterComplaint(
                "this program has no filter \(settings.name)" + (known.isEmpty ? "; it has none at all" : "; it has \(known)"))
        }
        do {
            let filter = try maker(Dictionary(settings.settings.map { ($0.name, $0.value) }) { $1 })
            return CustomFilterHost(filter, name: settings.name)
        } catch { throw FilterComplaint("\(settings.name): \(error)") }
    }
}

/// Runs a custom filter in the chain.
final class CustomFilterHost: Filter {
    private let filter: any CustomFilter
    private let name: String

    init(_ filter: any CustomFilter, name: String) {
        self.filter = filter
        self.name = name
    }

    func request(_ pass: FilterPass) -> FilterStep {
        let confined = Confined(pass, to: pass.home.reactor)
        let filter = filter
        var request = CustomRequest(pass)
        Task.immediate(executorPreference: pass.home.reactor) {
            do {
                let decision = try await filter.request(&request)
                CustomFilterHost.take(decision, request, confined.value)
            } catch {
                confined.value.resume(.refuse(FilterRefusal(.internal)))
            }
        }
        return .wait
    }

    private static func take(_ decision: CustomDecision, _ request: CustomRequest, _ pass: FilterPass) {
        guard !pass.isOver else { return }
        switch decision {
        case .next:
            if request.headers.isChanged { pass.head.fields.replace(by: request.headers) }
            pass.resume(.next)
        case .answer(let status, let headers, let body):
            let answer = LocalAnswer(status: min(max(status, 200), 599), body: ArraySlice(body))
            var fields = CustomHeaders([])
            for header in headers { fields.add(header) }
            answer.head.fields.replace(by: fields)
            pass.resume(.answer(answer))
        }
    }

    func response(_ pass: FilterPass, _ head: ResponseHead) -> ResponseStep {
        var response = CustomResponse(status: head.status, isLocal: pass.isLocalAnswer, headers: CustomHeaders(head.fields))
        filter.response(&response)
        if response.headers.isChanged { head.fields.replace(by: response.headers) }
        return .next
    }
}

extension CustomHeaders {
    init(_ section: borrowing FieldSection) {
        fields = []
        for i in 0..<section.count where section.isLive(i) { fields.append((section.name(i), section.string(i))) }
    }

    /// One more field of an answer.
    fileprivate mutating func add(_ field: (name: String, value: String)) {
        let name = field.name.lowercased()
        guard !CustomHeaders.framing.contains(name), name.utf8.allSatisfy({ $0 > 32 && $0 < 127 && $0 != 58 }), !name.isEmpty else {
            return
        }
        fields.append((name, field.value))
    }
}

extension FieldSection {
    /// What a custom filter made of the fields; that by which the message is framed stays. The bytes of those that go stay too: path, host and
    /// id of the request are slices of the same arena.
    fileprivate mutating func replace(by headers: CustomHeaders) {
        for i in 0..<count where isLive(i) && name(i) != "content-length" { remove(at: i) }
        for field in headers.fields where field.name != "content-length" { append(field.name, field.value) }
    }
}

extension CustomRequest {
    init(_ pass: FilterPass) {
        let head = pass.head
        method = head.method == .other ? head.string(head.methodText) : "\(head.method.text)"
        host = head.string(head.authority)
        path = head.string(head.path)
        query = head.hasQuery ? head.string(head.query) : nil
        var text = ByteBuffer()
        pass.proxy?.facts.identity?.address.write(into: &text)
        clientAddress = text.withReadable { String(copying: $0) }
        isSecure = pass.isSecure
        requestID = head.string(pass.requestID)
        consumer = pass.consumer.map { String(decoding: $0.name, as: UTF8.self) }
        route = pass.route?.name ?? ""
        headers = CustomHeaders(head.fields)
    }
}
