// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Configuration
import Core
import HTTP
import JSON

/// Changes method and query, and makes JSON bodies anew by a mapping. A body that cannot be mapped is refused or passed on untouched, as the
/// configuration says (case E25); nothing is ever mapped in part.
final class TransformFilter: Filter {
    private let method: (known: Method, text: [UInt8])?
    private let query: QueryRewrite?
    private let set: [(name: [UInt8], value: ValueWriter)]
    private let add: [(name: [UInt8], value: ValueWriter)]
    private let request: Configuration.TransformFilter.BodyMapping?
    private let response: Configuration.TransformFilter.BodyMapping?

    init(_ settings: Configuration.TransformFilter, parameters: [String]) {
        method = settings.method.map { text in
            let bytes = Array(text.utf8)
            return (Method.recognise(bytes.span), bytes)
        }
        let changes = settings.query
        query =
            changes == .init()
            ? nil
            : QueryRewrite(
                remove: changes.remove.map { Array($0.utf8) },
                rename: changes.rename.map { QueryRewrite.Renaming(from: Array($0.name.utf8), to: Array($0.value.utf8)) })
        set = changes.set.map { (Array($0.name.utf8), ValueWriter($0.value, parameters: parameters)) }
        add = changes.add.map { (Array($0.name.utf8), ValueWriter($0.value, parameters: parameters)) }
        request = settings.request
        response = settings.response
    }

    // MARK: Requests

    func request(_ pass: FilterPass) -> FilterStep {
        let head = pass.head
        if let query { rewrite(query, pass) }
        if let method, head.method != .head, head.method != .options {
            head.method = method.known
            head.methodText = head.fields.store(method.text.span)
        }
        if response != nil { prepareForMapping(&head.fields) }
        guard let request, head.framing != .none, head.framing != .length(0) else { return .next }
        switch BodyKind(of: head.fields) {
        case .json: break
        case .other: return refuse(request, .requestBodyType, "this route takes JSON")
        case .encoded: return refuse(request, .requestBodyType, "this route takes whole JSON bodies without a content coding")
        }
        if case .length(let n) = head.framing, n > UInt64(request.maximumBytes) {
            return refuse(
                request, .requestBodyTooLarge,
                "the body is longer than \(request.maximumBytes) bytes, which a filter of this route takes")
        }
        return .collect(limit: request.maximumBytes, overflow: request.onMismatch == .pass ? .passOn : .fail)
    }

    private func refuse(
        _ mapping: Configuration.TransformFilter.BodyMapping, _ reason: Reason, _ detail: String
    ) -> FilterStep {
        mapping.onMismatch == .pass ? .next : .refuse(FilterRefusal(reason, detail: detail))
    }

    func collected(_ pass: FilterPass, _ body: inout ByteBuffer) -> FilterStep {
        guard let request, !body.isEmpty else { return .next }
        switch request.apply(to: body) {
        case .made(var made):
            body.removeAll()
            body.append(movingFrom: &made)
            pass.head.fields.removeDigests()
            return .next
        case .malformed(let error): return refuse(request, .requestBodyMalformed, "the body is no JSON: \(error)")
        case .unfit(let error):
            if case .tooLong = error.problem { return refuse(request, .requestBodyTooLarge, "what becomes of the body: \(error)") }
            return refuse(request, .requestBodyMapping, "in the body, \(error)")
        }
    }

    private func rewrite(_ query: QueryRewrite, _ pass: FilterPass) {
        let head = pass.head
        func values(_ list: [(name: [UInt8], value: ValueWriter)]) -> [QueryRewrite.Pair] {
            list.map { name, writer in
                if let constant = writer.constant { return (name, constant) }
                var text = ByteBuffer()
                writer.write(pass, into: &text)
                let value = text.withReadable { [UInt8](copying: $0) }
                return (name, value.isEmpty ? nil : value)
            }
        }
        let (set, add) = (values(set), values(add))
        var made = ByteBuffer()
        head.withBytes(head.query) { query.apply(to: $0, set: set, add: add, into: &made) }
        head.hasQuery = !made.isEmpty
        head.query = made.withReadable { head.fields.store($0) }
    }

    /// The upstream is asked for what can be mapped: the whole, and without a content coding.
    private func prepareForMapping(_ fields: inout FieldSection) {
        for name in TransformFilter.unmappable { fields.removeAll(named: name) }
        fields.append("accept-encoding", "identity")
    }

    private static let unmappable = ["accept-encoding", "range", "if-range"].map { Array($0.utf8) }

    // MARK: Answers

    func response(_ pass: FilterPass, _ head: ResponseHead) -> ResponseStep {
        guard let response, !pass.isLocalAnswer else { return .next }
        // What a cached copy is still good for: its tag is that of a mapped answer.
        if head.status == 304 {
            TransformFilter.prepare(head)
            return .next
        }
        guard head.status != 206, response.statuses.contains(where: { $0.contains(head.status) }) else { return .next }
        let kind = BodyKind(of: head.fields)
        guard pass.answerHasBody else {
            // HEAD: what a GET would get, whose length nobody knows yet.
            if kind == .json { TransformFilter.prepare(head) }
            return .next
        }
        switch kind {
        case .json: break
        case .other: return refuse(response, pass, "the service's answer is no JSON")
        case .encoded: return refuse(response, pass, "the service's answer has a content coding")
        }
        if case .length(let n) = head.framing, n > UInt64(response.maximumBytes) {
            return response.onMismatch == .pass
                ? .next : replace(pass, .responseTooLarge, "the service's answer is longer than \(response.maximumBytes) bytes")
        }
        return .collect(limit: response.maximumBytes, overflow: response.onMismatch == .pass ? .passOn : .fail)
    }

    func collectedResponse(_ pass: FilterPass, _ head: ResponseHead, _ body: inout ByteBuffer) -> ResponseStep {
        guard let response, !body.isEmpty else { return .next }
        switch response.apply(to: body) {
        case .made(var made):
            body.removeAll()
            body.append(movingFrom: &made)
            TransformFilter.prepare(head)
            return .next
        case .malformed(let error): return refuse(response, pass, "the service's answer is no JSON: \(error)")
        case .unfit(let error): return refuse(response, pass, "in the service's answer, \(error)")
        }
    }

    private func refuse(
        _ mapping: Configuration.TransformFilter.BodyMapping, _ pass: FilterPass, _ detail: String
    ) -> ResponseStep {
        mapping.onMismatch == .pass ? .next : replace(pass, .responseUnusable, detail)
    }

    private func replace(_ pass: FilterPass, _ reason: Reason, _ detail: String) -> ResponseStep {
        .replace(LocalAnswer(problem: Problem(reason, detail: detail), for: pass))
    }

    /// The fields of an answer whose body is another one's, made anew.
    private static func prepare(_ head: ResponseHead) {
        head.fields.weakenETag()
        head.fields.removeDigests()
        head.fields.removeAll(.contentLength)
        head.fields.removeAll(named: Array("accept-ranges".utf8))
    }
}

extension LocalAnswer {
    /// A problem in place of an answer.
    convenience init(problem: Problem, for pass: FilterPass) {
        self.init(status: problem.reason.httpStatus)
        var bytes = ByteBuffer()
        problem.write(into: head, body: &bytes, for: pass.head, id: pass.requestID)
        body = bytes.withReadable { ArraySlice([UInt8](copying: $0)) }
        reason = problem.reason
    }
}

extension Configuration.TransformFilter.BodyMapping {
    enum Outcome: ~Copyable {
        case made(ByteBuffer)
        case malformed(JSONError)
        case unfit(JSONMappingError)
    }

    func apply(to body: borrowing ByteBuffer) -> Outcome {
        let limits = JSONLimits(bytes: maximumBytes, nodes: max(262_144, maximumBytes / 4))
        let document: JSONDocument
        do throws(JSONError) {
            document = try JSONDocument.parse(body.readable, limits: limits)
        } catch { return .malformed(error) }
        var made = ByteBuffer()
        do throws(JSONMappingError) {
            try mapping.apply(to: document.root, as: root, limit: maximumBytes, into: &made)
        } catch { return .unfit(error) }
        return .made(made)
    }
}
