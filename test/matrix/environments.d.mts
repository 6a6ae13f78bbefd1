export const RUN: string;
export const SEEN: string;
export const ENVIRONMENTS: readonly string[];
