/** The answers of handlers: a web Response, or a Reply, which adapters can send without building a Response. */

/** A response whose whole body is in memory. */
export class Reply {
  constructor(
    readonly body: string | Uint8Array<ArrayBuffer>,
    readonly headers: Readonly<Record<string, string>>,
    readonly status = 200,
    /** The detail, if the reply reports a problem. */
    readonly detail?: string,
  ) {}
}

export type Answer = Response | Reply;

/** Problem details, keyed by the Response that reports them. */
const details = new WeakMap<Response, string>();

/** The answer as a web Response. */
export function responseOf(answer: Answer): Response {
  if (answer instanceof Response) return answer;
  const response = new Response(answer.body, answer);
  if (answer.detail !== undefined) details.set(response, answer.detail);
  return response;
}

/** The detail of the problem that an answer reports; undefined for any other answer. */
export const detailOf = (answer: Answer): string | undefined =>
  answer instanceof Response ? details.get(answer) : answer.detail;
