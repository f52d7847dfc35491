// Runs a test's program in place of the program whose startup hook it is: DOTNET_STARTUP_HOOKS is this, and HOOKED is the
// program's path, and perhaps its arguments. With HOOKED_FROM_MEMORY the CLR gets the program's bytes, and no path.

using System;
using System.IO;
using System.Reflection;

static class StartupHook
{
    public static void Initialize()
    {
        var words = Environment.GetEnvironmentVariable("HOOKED").Split(' ');
        var arguments = new string[words.Length - 1];
        Array.Copy(words, 1, arguments, 0, arguments.Length);
        bool isFromMemory = Environment.GetEnvironmentVariable("HOOKED_FROM_MEMORY") != null;
        // LoadFrom also finds what lies beside it.
        var program = isFromMemory ? Assembly.Load(File.ReadAllBytes(words[0])) : Assembly.LoadFrom(words[0]);
        var main = program.EntryPoint;
        object result = main.Invoke(null, main.GetParameters().Length == 0 ? null : new object[] { arguments });
        Environment.Exit(result is int ? (int)result : 0);
    }
}
