// What Node itself takes to start and to print.
const respond = () => Promise.resolve("A Layer is a recipe for a service.")

console.log(await respond())
