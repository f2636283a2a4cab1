// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Configuration
import Core
import Credentials
import HTTP
import Upstream

/// Asks a service, through its guard, whether a request may pass. Its 2xx lets it pass with chosen fields; its 401, 403 and redirects go to the
/// client; everything else, no answer above all, is 503: when nobody says yes, nobody passes.
final class ForwardAuthFilter: Filter {
    private let upstream: Int
    private let path: [UInt8]
    private let send: [[UInt8]]
    private let copy: [[UInt8]]
    private let consumer: [UInt8]?
    private let answer: [[UInt8]]
    private let bodyLimit: Int

    init(_ settings: Configuration.ForwardAuthFilter, to upstream: Int) {
        self.upstream = upstream
        path = Array(settings.path.utf8)
        send = settings.send.map { Array($0.utf8) }
        copy = settings.copy.map { Array($0.utf8) }
        consumer = settings.consumer.map { Array($0.utf8) }
        let always = ["content-type", "location", "set-cookie", "www-authenticate", "cache-control", "retry-after"]
        answer = (always + settings.answer.filter { !always.contains($0) }).map { Array($0.utf8) }
        bodyLimit = settings.bodyBytes
    }

    func request(_ pass: FilterPass) -> FilterStep {
        let question = Subrequest(pass.home, to: upstream, in: pass.snapshot, for: pass)
        ask(question, about: pass)
        pass.state = question
        question.start(answerLimit: bodyLimit) { [weak pass] question in
            guard let pass else { return }
            pass.resume(self.step(question, pass))
        }
        return .wait
    }

    func ended(_ pass: FilterPass) { (pass.state as? Subrequest)?.cancel() }

    private func ask(_ question: Subrequest, about pass: FilterPass) {
        let (request, head) = (pass.head, question.head)
        head.method = .get
        let path = self.path
        question.setTarget(path.span)
        for name in send {
            for i in 0..<request.fields.count where request.fields.isLive(i, named: name.span) {
                request.fields.withValue(i) { head.fields.append(name: name.span, value: $0) }
            }
        }
        func tell(_ name: StaticString, _ write: (inout ByteBuffer) -> Void) {
            var value = ByteBuffer()
            write(&value)
            let name = name.withUTF8Buffer { unsafe Array($0) }
            value.withReadable { head.fields.append(name: name.span, value: $0) }
        }
        tell("x-forwarded-method") { out in
            if request.method == .other {
                request.withBytes(request.methodText) { out.append($0) }
            } else {
                out.append(request.method.text)
            }
        }
        tell("x-forwarded-host") { out in request.withBytes(request.authority) { out.append($0) } }
        tell("x-forwarded-uri") { out in
            request.withBytes(request.path) { out.append($0) }
            if request.hasQuery {
                out.append(UInt8(ascii: "?"))
                request.withBytes(request.query) { out.append($0) }
            }
        }
        tell("x-forwarded-proto") { $0.append(pass.isSecure ? "https" : "http" as StaticString) }
        tell("x-forwarded-for") { IPAddress(bits: pass.clientAddress).write(into: &$0) }
    }

    private func step(_ question: Subrequest, _ pass: FilterPass) -> FilterStep {
        switch question.result {
        case .answered?: decide(question, pass)
        case .tooLong?:
            // The head has said it; a page that is too long is left out.
            decide(question, pass, withBody: false)
        case .failed(let failure)?: AuthenticationRefusal.unavailable(retryAfterNanoseconds: failure.retryAfterNanoseconds)
        case .cancelled?, nil: AuthenticationRefusal.unavailable()
        }
    }

    private func decide(_ question: Subrequest, _ pass: FilterPass, withBody: Bool = true) -> FilterStep {
        let head = question.answer
        switch head.status {
        case 200...299:
            for name in copy {
                // What a client sent under this name is gone already; what an earlier filter said gives way.
                pass.head.fields.removeAll(named: name)
                for i in 0..<head.fields.count where head.fields.isLive(i, named: name.span) {
                    head.fields.withValue(i) { pass.head.fields.append(name: name.span, value: $0) }
                }
            }
            if let consumer, let i = head.fields.first(named: consumer) {
                pass.consumer = Consumer(name: head.fields.withValue(i) { Array(copying: $0) })
            }
            return .next
        case 301, 302, 303, 307, 308, 401, 403:
            let local = LocalAnswer(
                status: head.status, body: withBody ? question.body.withReadable { ArraySlice(Array(copying: $0)) } : [])
            for name in answer {
                if name == Array("content-type".utf8) && local.body.isEmpty { continue }
                for i in 0..<head.fields.count where head.fields.isLive(i, named: name.span) {
                    head.fields.withValue(i) { local.head.fields.append(name: name.span, value: $0) }
                }
            }
            // Not to be stored unless the service says so: it is about this client.
            if !local.head.fields.contains(.cacheControl) { local.head.fields.append(.cacheControl, "no-store") }
            local.reason = head.status == 403 ? .authForbidden : head.status == 401 ? .authInvalid : .authMissing
            return .answer(local)
        default: return AuthenticationRefusal.unavailable()
        }
    }
}
