/**
 * The version of this package, which a test compares with package.json.
 *
 * @internal
 */
export const version = "0.1.0"
