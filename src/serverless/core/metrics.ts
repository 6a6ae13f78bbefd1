/**
 * Counts requests, and writes the counts in Prometheus's text format 0.0.4. Labels have few distinct values, no matter
 * what clients request.
 */

/** The measurements of one request. */
export interface Measurement {
  readonly method: string;
  /** The route that matched, or "other". */
  readonly route: string;
  readonly status: number;
  readonly seconds: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
}

/** Upper bounds of the latency buckets, in seconds. */
const BOUNDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const METHODS = ["GET", "HEAD", "POST", "OPTIONS"];

interface Latencies {
  /** The number of requests per bucket. The last bucket counts requests above all bounds. */
  readonly counts: number[];
  sum: number;
}

const labels = (pairs: Readonly<Record<string, string>>): string =>
  Object.entries(pairs)
    .map(([name, value]) => `${name}="${value.replace(/[\\"]/g, "\\$&")}"`)
    .join(",");

export class Metrics {
  static readonly type = "text/plain; version=0.0.4; charset=utf-8";
  #inFlight = 0;
  // The keys of these maps are labels in Prometheus's format.
  readonly #requests = new Map<string, number>();
  readonly #received = new Map<string, number>();
  readonly #sent = new Map<string, number>();
  readonly #latencies = new Map<string, Latencies>();

  begin(): void {
    this.#inFlight++;
  }

  end({ method, route, status, seconds, bytesIn, bytesOut }: Measurement): void {
    this.#inFlight--;
    const key = labels({ route, method: METHODS.includes(method) ? method : "other", status: String(status) });
    const add = (counts: Map<string, number>, value: number): void =>
      void counts.set(key, (counts.get(key) ?? 0) + value);
    add(this.#requests, 1);
    add(this.#received, bytesIn);
    add(this.#sent, bytesOut);
    const ofRoute = labels({ route });
    let latencies = this.#latencies.get(ofRoute);
    if (!latencies) {
      latencies = { counts: new Array<number>(BOUNDS.length + 1).fill(0), sum: 0 };
      this.#latencies.set(ofRoute, latencies);
    }
    const bucket = BOUNDS.findIndex((bound) => seconds <= bound);
    latencies.counts[bucket < 0 ? BOUNDS.length : bucket]!++;
    latencies.sum += seconds;
  }

  /** Returns all counts as text. */
  write(): string {
    const lines: string[] = [];
    const family = (name: string, kind: string, help: string, samples: Iterable<readonly [string, number]>): void => {
      lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${kind}`);
      for (const [suffix, value] of samples) lines.push(`${name}${suffix} ${value}`);
    };
    const samplesOf = (counts: Map<string, number>) => [...counts].map(([key, value]) => [`{${key}}`, value] as const);
    family("nabla_requests_total", "counter", "Completed requests.", samplesOf(this.#requests));
    family("nabla_requests_in_flight", "gauge", "Requests in progress.", [["", this.#inFlight]]);
    family(
      "nabla_request_bytes_total",
      "counter",
      "Bytes of request bodies, according to Content-Length.",
      samplesOf(this.#received),
    );
    family("nabla_response_bytes_total", "counter", "Bytes of response bodies.", samplesOf(this.#sent));
    family(
      "nabla_request_duration_seconds",
      "histogram",
      "Seconds from the request's headers to the end of the response.",
      [...this.#latencies].flatMap(([key, { counts, sum }]) => {
        let total = 0;
        const buckets = counts.map((count, i) => {
          total += count;
          return [`_bucket{${key},le="${BOUNDS[i] ?? "+Inf"}"}`, total] as const;
        });
        return [...buckets, [`_sum{${key}}`, sum], [`_count{${key}}`, total]] as const;
      }),
    );
    return `${lines.join("\n")}\n`;
  }
}
