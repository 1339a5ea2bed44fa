// The way to a server: calls with a proof of the device's key, and answers that are
// whole or are none.

import { fromBinary } from "@bufbuild/protobuf";
import { Code, ConnectError, type Interceptor, createClient } from "@connectrpc/connect";
import { compressionGzip, createConnectTransport } from "@connectrpc/connect-node";
import type { KeyObject } from "node:crypto";
import {
  EnrollService, type EnrollResponse, type SyncAnswer, SyncAnswerSchema, type SyncRequest, type SyncResponse, SyncService,
} from "../gen/tandem/v1/sync_pb.js";
import { equal, sha256 } from "./bytes.js";
import { proofOf } from "./proof.js";

// NoAnswer: nothing is known of what became of the request. Never a verdict.
export class NoAnswer extends Error {}

// Refused: the server's own word, under its header.
export class Refused extends Error {
  constructor(readonly code: string, message: string) {
    super(message);
  }
}

const header = "Tandem-Schema";

// unframe returns the answer of a whole response.
export function unframe(resp: SyncResponse): SyncAnswer {
  if (resp.end !== "tandem" || resp.schema === 0 || !equal(sha256(resp.answer).subarray(0, 16), resp.digest)) {
    throw new NoAnswer("the answer is incomplete or damaged");
  }
  let answer: SyncAnswer;
  try {
    answer = fromBinary(SyncAnswerSchema, resp.answer);
  } catch {
    throw new NoAnswer("the answer cannot be read");
  }
  const count = answer.outcomes.length + (answer.page?.rows.length ?? 0) + answer.lookedUp.length;
  if (!answer.trailer || count !== resp.count) throw new NoAnswer("the answer is not as long as it says");
  return answer;
}

export class Link {
  nonce = "";
  private readonly sync;
  private readonly enrolment;

  // identity is null before enrolment.
  constructor(server: string, private readonly identity: { key: KeyObject; certificate: string } | null) {
    const at = new URL(server);
    if (at.protocol !== "https:" && !(at.protocol === "http:" && ["127.0.0.1", "[::1]", "localhost"].includes(at.hostname))) {
      throw new Error("use https://");
    }
    const transport = createConnectTransport({
      baseUrl: server, httpVersion: "1.1", useBinaryFormat: true, interceptors: [this.guard()],
      sendCompression: compressionGzip, acceptCompression: [compressionGzip], readMaxBytes: 8 << 20, defaultTimeoutMs: 60_000,
    });
    this.sync = createClient(SyncService, transport);
    this.enrolment = createClient(EnrollService, transport);
  }

  // guard puts certificate and proof into each request, and takes only the server's own
  // answers.
  private guard(): Interceptor {
    return (next) => async (req) => {
      if (this.identity) {
        req.header.set("Authorization", "DPoP " + this.identity.certificate);
        req.header.set("DPoP", proofOf(this.identity.key, this.identity.certificate, req.requestMethod, req.url, this.nonce));
      }
      const res = await next(req);
      if (!res.header.has(header)) throw new NoAnswer("the answer is not the server's");
      this.learn(res.header);
      return res;
    };
  }

  private learn(h: Headers): void {
    this.nonce = h.get("DPoP-Nonce") ?? this.nonce;
  }

  // call makes a call, once more where the server asks for its newest nonce.
  private async call<T>(make: () => Promise<T>): Promise<T> {
    for (let again = true; ; again = false) {
      try {
        return await make();
      } catch (cause) {
        const err = ConnectError.from(cause);
        if (cause instanceof NoAnswer || err.cause instanceof NoAnswer) throw new NoAnswer(err.rawMessage);
        if (!err.metadata.has(header)) throw new NoAnswer("no answer from the server");
        this.learn(err.metadata);
        if (again && err.code === Code.Unauthenticated && err.metadata.get("WWW-Authenticate")?.includes("use_dpop_nonce")) continue;
        throw new Refused(Code[err.code] ?? "", err.rawMessage);
      }
    }
  }

  enrol(req: { code: string; publicKey: Uint8Array; proof: Uint8Array; replica: Uint8Array }): Promise<EnrollResponse> {
    return this.call(() => this.enrolment.enroll({ ...req, platform: "node", appVersion: "tsclient", schema: 1 }));
  }

  async exchange(req: SyncRequest): Promise<SyncAnswer> {
    const answer = unframe(await this.call(() => this.sync.sync(req)));
    if (answer.trailer!.ask.length > 0 && !equal(answer.trailer!.ask, req.ask)) throw new NoAnswer("an answer to another request");
    return answer;
  }
}
