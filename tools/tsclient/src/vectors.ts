export function checkVectors(_dir: string): number { return 0; }
