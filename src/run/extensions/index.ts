/**
 * For programs whose stack is chosen by an operator: this package's Layers and those of other packages by name, a
 * configuration, and how the services are doing. A program that wires its Layers in code needs none of it.
 *
 * @since 0.1.0
 */
export * as Extension from "../../services/Extension.ts"
export * as ExtensionError from "../../services/ExtensionError.ts"
export * as Setting from "../../services/Setting.ts"
export * as Catalogue from "./Catalogue.ts"
export * as Check from "./Check.ts"
export * as Configuration from "./Configuration.ts"
export * as Discovery from "./Discovery.ts"
export * as Extensions from "./Extensions.ts"
export * as Health from "./Health.ts"
