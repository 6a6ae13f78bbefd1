export function nextVersion(current: string, wanted: string | undefined): string;
export function released(changelog: string, version: string, date: string): string;
