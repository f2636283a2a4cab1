// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Configuration
import Core
import HTTP
import Synchronization

/// Answers 503 `maintenance` to everybody but the networks that are to look whether it works again.
final class MaintenanceFilter: Filter {
    private let except: [IPNetwork]
    private let retryAfterNanoseconds: Int64
    private let answer: Configuration.Answer?
    private let file: String?
    private let isInForce: Atomic<Bool>

    init(_ settings: Configuration.MaintenanceFilter) {
        except = settings.except.compactMap { IPNetwork($0.description) }
        retryAfterNanoseconds = settings.retryAfter.wholeNanoseconds
        answer = settings.answer
        file = settings.file
        isInForce = Atomic(settings.file.map { FileSight.exists($0) } ?? settings.enabled)
    }

    func everySecond(_ home: GatewayReactor) {
        guard let file else { return }
        isInForce.store(FileSight.exists(file), ordering: .relaxed)
    }

    func request(_ pass: FilterPass) -> FilterStep {
        guard isInForce.load(ordering: .relaxed) else { return .next }
        let address = IPAddress(bits: pass.clientAddress)
        if except.contains(where: { $0.contains(address) }) { return .next }
        guard let answer else {
            return .refuse(FilterRefusal(.maintenance, retryAfterNanoseconds: retryAfterNanoseconds))
        }
        let local = LocalAnswer(status: answer.status, body: ArraySlice(answer.body.utf8))
        for field in answer.headers { local.head.fields.append(field.name, field.value) }
        if !answer.body.isEmpty, !answer.headers.contains(where: { $0.name == "content-type" }) {
            local.head.fields.append("content-type", "text/plain; charset=utf-8")
        }
        if local.head.fields.first(.retryAfter) == nil {
            local.head.fields.append(.retryAfter, decimal: UInt64(max(0, retryAfterNanoseconds / 1_000_000_000)))
        }
        local.head.fields.append(.cacheControl, "no-store")
        local.reason = .maintenance
        return .answer(local)
    }
}
