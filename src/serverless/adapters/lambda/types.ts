/** The parts of AWS Lambda's events and results that nabla uses. */
import type { Sink } from "../node/sink.ts";

/**
 * An event, with the fields that nabla uses. Version 2 (function URLs, HTTP APIs) has requestContext.http; version 1 (REST APIs, load
 * balancers) has httpMethod.
 */
export interface LambdaEvent {
  /** Other fields are ignored. */
  readonly [key: string]: unknown;
  /** The path, in version 2. */
  readonly rawPath?: string;
  /** The query, in version 2. */
  readonly rawQueryString?: string;
  /** The cookies, which version 2 removes from the headers. */
  readonly cookies?: readonly string[] | null;
  /** The source of the event. */
  readonly requestContext?: {
    readonly [key: string]: unknown;
    /** The host. */
    readonly domainName?: string;
    /** Present if the event comes from an application load balancer. */
    readonly elb?: unknown;
    /** Present in version 2. */
    readonly http?: { readonly [key: string]: unknown; readonly method: string };
  };
  /** The method, in version 1. */
  readonly httpMethod?: string;
  /** The path, in version 1. */
  readonly path?: string;
  /** The query, in version 1; one value per name. */
  readonly queryStringParameters?: Readonly<Record<string, string | undefined>> | null;
  /** The query, in version 1. */
  readonly multiValueQueryStringParameters?: Readonly<Record<string, readonly string[] | undefined>> | null;
  /** The headers; one value per name. */
  readonly headers?: Readonly<Record<string, string | undefined>> | null;
  /** The headers, in version 1. */
  readonly multiValueHeaders?: Readonly<Record<string, readonly string[] | undefined>> | null;
  /** The body, as text or base64. */
  readonly body?: string | null;
  /** Whether the body is base64. */
  readonly isBase64Encoded?: boolean;
}

/** A result, which Lambda converts to the response. */
export interface LambdaResult {
  /** The HTTP status. */
  readonly statusCode: number;
  /** The headers; one value per name. */
  readonly headers: Record<string, string>;
  /** All headers, for version 1 and for load balancers with multi-value headers. */
  readonly multiValueHeaders?: Record<string, string[]>;
  /** The Set-Cookie headers, for version 2. */
  readonly cookies?: string[];
  /** The body, as text or base64. */
  readonly body: string;
  /** Whether the body is base64. */
  readonly isBase64Encoded: boolean;
}

/** A function that Lambda calls to stream a response. */
export type LambdaStreamer = (event: LambdaEvent, stream: Sink, context?: unknown) => Promise<void>;
