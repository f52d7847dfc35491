// node inside_node.js <node-api-dotnet> <hostcrst-dump> <file>: .NET inside of node. What hostcrst-dump says of the process,
// while JavaScript that .NET has called is running, goes to the file.
const { spawnSync } = require('child_process');
const [, , package_, dump, shown] = process.argv;

const dotnet = require(package_ + '/net8.0.js');
const { System } = dotnet;

System.Console.WriteLine('.NET ' + System.Environment.Version.Major);
console.log(System.IO.Path.GetFileName('/folder/file'));
console.log(System.String.Join(' ', ['from', 'JavaScript']));
if (dump) {
    const told = spawnSync(dump, [String(process.pid)]);
    require('fs').writeFileSync(shown, told.stdout);
}
