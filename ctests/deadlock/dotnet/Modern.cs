// Calls native code and is called by it in the ways that came with C# 9: through typed function pointers, and where there is
// .NET 5, at methods that are UnmanagedCallersOnly. A report is written inside of the innermost call.

using System;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

static unsafe class Modern
{
    // What the compiler makes of a method with LibraryImport.
    static int WriteReport(int descriptor, uint format)
    {
        return __PInvoke(descriptor, format);

        [DllImport("hostcrst", EntryPoint = "host_report", ExactSpelling = true)]
        static extern int __PInvoke(int descriptor, uint format);
    }

    delegate int Comparer(int* first, int* second);

    static int comparisons;

#if NET5_0
    [UnmanagedCallersOnly(CallConvs = new[] { typeof(CallConvCdecl) })]
    static int Compare(int* first, int* second) => Order.By(first, second);

    static delegate* unmanaged[Cdecl]<int*, int*, int> Callback => &Compare;
#else
    static readonly Comparer compare = Order.By;

    static delegate* unmanaged[Cdecl]<int*, int*, int> Callback =>
        (delegate* unmanaged[Cdecl]<int*, int*, int>)Marshal.GetFunctionPointerForDelegate(compare);
#endif

    static class Order
    {
        public static int By(int* first, int* second)
        {
            if (comparisons++ == 0)
            {
                Report();
            }
            return first->CompareTo(*second);
        }
    }

    // .NET 10 reports no call of native code that it inlined into a method that is UnmanagedCallersOnly.
    [MethodImpl(MethodImplOptions.NoInlining)]
    static void Report()
    {
        if (WriteReport(1, 0) != 0)
        {
            Environment.Exit(1);
        }
    }

    // Small enough to be inlined, which would hide the call.
    static void Sort(delegate* unmanaged[Cdecl]<void*, nuint, nuint, delegate* unmanaged[Cdecl]<int*, int*, int>, void> sort,
        Span<int> numbers)
    {
        fixed (int* first = numbers)
        {
            sort(first, (nuint)numbers.Length, sizeof(int), Callback);
        }
    }

    static int Main()
    {
        var libc = NativeLibrary.Load("libc.so.6");
        var qsort = NativeLibrary.GetExport(libc, "qsort");
        int[] numbers = { 3, 1, 2 };
        for (int round = 0; round < 1000; round++)
        {
            (numbers[0], numbers[2]) = (numbers[2], numbers[0]);
            Sort((delegate* unmanaged[Cdecl]<void*, nuint, nuint, delegate* unmanaged[Cdecl]<int*, int*, int>, void>)qsort, numbers);
        }
        Console.WriteLine(string.Join(" ", numbers) + (comparisons >= 2000 ? ": sorted, each comparison seen" : ": not all seen"));
        return 0;
    }
}
