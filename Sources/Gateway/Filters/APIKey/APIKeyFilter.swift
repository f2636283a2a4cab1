// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Configuration
import Core
import Credentials
import HTTP
import Reactor

/// Lets in who shows a known key. The key is taken off the request first of all, so that no way on, and no log of a query, has it.
final class APIKeyFilter: Filter {
    private final class Keys: Sendable {
        let keys: APIKeys
        init(_ keys: APIKeys) { self.keys = keys }
    }

    private let file: WatchedFile<Keys>
    private let header: [UInt8]?
    private let query: [UInt8]?
    private let consumerHeader: [UInt8]?
    private let refusal: AuthenticationRefusal

    init(_ settings: Configuration.APIKeyFilter) throws(FilterComplaint) {
        do throws(WatchedFileProblem) {
            file = try WatchedFile(path: settings.keysFile, every: settings.reload, load: APIKeyFilter.load)
        } catch { throw FilterComplaint(error.words) }
        header = settings.header.map { Array($0.utf8) }
        query = settings.query.map { Array($0.utf8) }
        consumerHeader = settings.consumerHeader.map { Array($0.utf8) }
        // Not a registered scheme, but 401 must name one (RFC 9110 §15.5.2).
        refusal = AuthenticationRefusal(
            settings.header == "authorization" ? "Bearer realm=\"holdfast\"" : "ApiKey realm=\"holdfast\"")
    }

    private static func load(_ path: String) throws(WatchedFileProblem) -> Keys {
        do throws(ConfigurationErrors) {
            let read = try KeysFile.load(path: path)
            var keys: [APIKeys.Key] = []
            for consumer in read.consumers {
                for key in consumer.keys {
                    guard let hash = Digest256(hexadecimal: key.sha256) else { continue }  // the reader has seen to that
                    keys.append(APIKeys.Key(consumer: consumer.name, label: key.label, hash: hash, expires: key.expires))
                }
            }
            return Keys(APIKeys(keys))
        } catch { throw WatchedFileProblem(words: error.description) }
    }

    func everySecond(_ home: GatewayReactor) { file.look(at: home.reactor.now, home.filterLog) }

    func request(_ pass: FilterPass) -> FilterStep {
        let seconds = pass.home.reactor.unixNanoseconds / 1_000_000_000
        let keys = file.content.keys
        var verdict: APIKeys.Verdict?
        var isAmbiguous = false
        if let header {
            switch pass.head.fields.single(named: header) {
            case .none: break
            case .several: isAmbiguous = true
            case .one(let i): verdict = pass.head.fields.withValue(i) { find($0, keys, seconds) }
            }
            pass.head.fields.removeAll(named: header)
        }
        if let query {
            let found = takeQuery(query, pass.head) { keys.find($0, unixSeconds: seconds) }
            if found.count > 1 { isAmbiguous = true }
            if verdict == nil { verdict = found.first }
        }
        if isAmbiguous { return refusal.invalid }
        guard let verdict else { return refusal.missing }
        guard case .known(let key) = verdict else { return refusal.invalid }
        pass.identify(as: Array(key.consumer.utf8), telling: consumerHeader)
        return .next
    }

    private func find(_ value: Span<UInt8>, _ keys: APIKeys, _ seconds: Int64) -> APIKeys.Verdict? {
        guard header == Array("authorization".utf8) else { return keys.find(value, unixSeconds: seconds) }
        guard let range = AuthorizationField.credentials(of: "bearer", in: value) else { return nil }
        return keys.find(value.extracting(range), unixSeconds: seconds)
    }

    /// Takes every parameter of that name off the query and gives what `look` makes of its values, as they stand there: a key has no character
    /// that needs an escape. The name counts however it is escaped, since the upstream would read it so.
    private func takeQuery(
        _ name: [UInt8], _ head: RequestHead, _ look: (Span<UInt8>) -> APIKeys.Verdict
    ) -> [APIKeys.Verdict] {
        guard head.hasQuery else { return [] }
        var rest = ByteBuffer()
        var found: [APIKeys.Verdict] = []
        var kept = 0
        head.withBytes(head.query) { text in
            var at = 0
            while at <= text.count {
                var end = at
                while end < text.count, text[end] != UInt8(ascii: "&") { end += 1 }
                var equal = at
                while equal < end, text[equal] != UInt8(ascii: "=") { equal += 1 }
                if text.extracting(at..<equal).isQueryName(name) {
                    found.append(look(text.extracting(min(equal + 1, end)..<end)))
                } else {
                    if kept > 0 { rest.append(UInt8(ascii: "&")) }
                    rest.append(text.extracting(at..<end))
                    kept += 1
                }
                at = end + 1
            }
        }
        guard !found.isEmpty else { return [] }
        head.hasQuery = !rest.isEmpty
        head.query = rest.isEmpty ? .empty : rest.withReadable { head.fields.store($0) }
        return found
    }
}

extension Span<UInt8> {
    /// Whether these bytes are `name` once escapes are resolved.
    fileprivate func isQueryName(_ name: [UInt8]) -> Bool {
        var k = 0
        var i = 0
        while i < count {
            var c = self[i]
            if c == UInt8(ascii: "%"), i + 2 < count, let high = self[i + 1].hexDigitValue, let low = self[i + 2].hexDigitValue {
                c = UInt8(truncatingIfNeeded: high << 4 | low)
                i += 2
            }
            if k == name.count || c != name[k] { return false }
            k += 1
            i += 1
        }
        return k == name.count
    }
}
