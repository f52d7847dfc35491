// Writes Pointers.dll, whose methods call through function pointers: mcs has no syntax for that. Runs under Mono.

using System;
using System.Reflection;
using System.Reflection.Emit;
using System.Runtime.InteropServices;

static class Emit
{
    static void Main(string[] arguments)
    {
        var name = new AssemblyName("Pointers");
        var assembly = AppDomain.CurrentDomain.DefineDynamicAssembly(name, AssemblyBuilderAccess.Save, arguments[0]);
        var type = assembly.DefineDynamicModule("Pointers", "Pointers.dll").DefineType(
            "Pointers", TypeAttributes.Public | TypeAttributes.Abstract | TypeAttributes.Sealed);
        var target = type.DefineField("target", typeof(IntPtr), FieldAttributes.Public | FieldAttributes.Static);
        AddCall(type, target, "Cdecl", CallingConvention.Cdecl);
        AddCall(type, target, "StdCall", CallingConvention.StdCall);
        type.CreateType();
        assembly.Save("Pointers.dll");
    }

    // static int method(int argument) { return target(argument); }
    static void AddCall(TypeBuilder type, FieldInfo target, string method, CallingConvention convention)
    {
        var one = new[] { typeof(int) };
        var code = type.DefineMethod(method, MethodAttributes.Public | MethodAttributes.Static, typeof(int), one)
            .GetILGenerator();
        code.Emit(OpCodes.Ldarg_0);
        code.Emit(OpCodes.Ldsfld, target);
        code.EmitCalli(OpCodes.Calli, convention, typeof(int), one);
        code.Emit(OpCodes.Ret);
    }
}
